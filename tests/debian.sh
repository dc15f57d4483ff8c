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

# What apt goes through on its way out.
take_proxy() {
  local proxy=
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  [ -z "$proxy" ] || export http_proxy=$proxy
}

# A Debian $1 with the packages $2 (a,b,c) in the directory $3.
bootstrap() {
  take_proxy
  debootstrap --variant=minbase --include="$2" "$1" "$3" "$(mirror)"
}

# What $PIP is set up with, as a file of settings.
pip_settings() {
  echo '[global]'
  "$PIP" config list | sed -n "s/^:env:\./ /; s/^[a-z]*\./ /; s/^ \([^=]*\)='\(.*\)'$/\1 = \2/p" | sort -u -t= -k1,1
}

# The directories of this machine that packages come from by the settings $1. An index has its files beside its pages.
pip_places() {
  local place
  for place in $(tr ' ' '\n' < "$1" | sed -n 's,^file://,,; s,/simple/*$,,; /^\//p'); do
    [ ! -d "$place" ] || echo "$place"
  done | sort -u
}
