#!/bin/sh
# Starts core.js in the shell $1 and tells it the version, which no shell tells a script.
set -eu
here=$(dirname "$0")
case $1 in
  jsc) runtime=javascriptcore
    version=$(dpkg-query -W -f '${source:Upstream-Version}\n' 'libjavascriptcoregtk-*-bin' 2>/dev/null | tail -n 1) ;;
  *) runtime=spidermonkey
    version=$("$1" --version | grep -o '[0-9][0-9.]*') ;;
esac
about="var shell = {name: '$1', runtime: '$runtime', version: '${version:-unknown}'}"
exec "$1" -e "$about" -f "$here/core.js" -f "$here/shell.js"
