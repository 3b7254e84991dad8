#!/bin/sh
# deploy/flink/build.sh DIRECTORY: fetches the jars of Flink into DIRECTORY/libs and compiles the Java files into
# DIRECTORY/classes. Needs Java 17 and Maven. What is there and up to date stays untouched, so programs that use it run on.
set -eu
[ $# = 1 ] || { echo "usage: build.sh DIRECTORY" >&2; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
if ! cmp -s "$here/pom.xml" "$out/pom.xml"; then
  rm -rf "$out/libs" "$out/sources.cksum"
  mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$out/libs" >&2
  cp "$here/pom.xml" "$out/pom.xml"
fi
sum=$(cat "$here/pom.xml" "$here"/java/waypost/flink/*.java | cksum)
if [ "$sum" != "$(cat "$out/sources.cksum" 2>/dev/null)" ]; then
  rm -rf "$out/classes" "$out/sources.cksum"
  javac -XDignore.symbol.file -proc:none -cp "$out/libs/*" -d "$out/classes" "$here"/java/waypost/flink/*.java
  echo "$sum" >"$out/sources.cksum"
fi
