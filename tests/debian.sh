# shellcheck shell=bash
# What scripts share that make a Debian beside this one; to be sourced. Needs apt.

# The archive that calls itself Debian, not its security updates: debootstrap needs the whole of it. Nothing if apt knows none.
mirror() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null \
    | awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}

# As much of the packages $@ as is not installed yet.
need() {
  local missing=() package
  for package in "$@"; do
    dpkg --status "$package" > /dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] || install "${missing[@]}" || { apt-get update -qq && install "${missing[@]}"; }
  [ -n "$(mirror)" ] || apt-get update -qq
}

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

# A Debian $1 with the packages $2 (a,b,c) in the directory $3.
bootstrap() {
  local proxy=
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  [ -z "$proxy" ] || export http_proxy=$proxy
  debootstrap --variant=minbase --include="$2" "$1" "$3" "$(mirror)"
}
