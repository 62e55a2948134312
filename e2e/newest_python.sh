#!/bin/sh
# Prints the newest Python of this machine: on the path, or among those that pyenv keeps.
for python in python3 python3.12 python3.13 python3.14 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
	found=$(command -v "$python") || continue
	version=$("$found" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
	echo "$version $found"
done | sort -V | tail -n 1 | cut -d ' ' -f 2-
