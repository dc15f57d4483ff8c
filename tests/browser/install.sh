#!/usr/bin/env bash
# What the browser tests load besides Debian's packages: axe-core from npm, into node_modules beside this file.
set -euo pipefail
cd "$(dirname "$0")"
[ node_modules/.package-lock.json -nt package-lock.json ] && exit 0
if ! command -v npm > /dev/null; then
  echo "missing for the browser tests: npm; on Debian and Ubuntu: apt-get install npm" >&2
  [ "${CI:-}" = true ] && exit 1
  echo "without it accessibility is not tested" >&2
  exit 0
fi
echo "installing axe-core for the browser tests"
npm ci --omit-lockfile-registry-resolved --no-audit --no-fund --silent
touch node_modules/.package-lock.json
