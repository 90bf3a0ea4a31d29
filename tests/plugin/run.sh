#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# One step of the tests of the installed package; CMakeLists.txt gives BUILD, CMAKE, CC, SANITIZE and LIBDIR.
# usage: run.sh STEP DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
step=$1 dir=$2
prefix=$dir/prefix
export PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig
export MOONLET=$prefix/bin/moonlet
export MOONLET_JOURNAL=off HOME=$dir
sanitize=${SANITIZE:+-fsanitize=$SANITIZE}
strict=(-std=c17 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror)

fail() {
  echo "$step: $*" >&2
  exit 1
}
same() { # WANTED GOT
  [ "$1" = "$2" ] || fail "wanted: $1, got: $2"
}
fresh() { # a work directory outside of the source tree, with the sources in it
  rm -rf "$dir/$step"
  mkdir -p "$dir/$step"
  cp "$here"/*.c "$here"/*.lua "$here/Makefile" "$dir/$step"
  cd "$dir/$step"
}

case $step in
install)
  rm -rf "$dir"
  mkdir -p "$dir"
  "$CMAKE" --install "$BUILD" --prefix "$prefix" >/dev/null
  for file in bin/moonlet "$LIBDIR/libmoonlet.so" "$LIBDIR/libmoonlet.a" include/moonlet/moonlet.h include/moonlet/tool.h \
    include/moonlet/extend.h share/man/man1/moonlet.1 share/bash-completion/completions/moonlet \
    share/zsh/site-functions/_moonlet share/fish/vendor_completions.d/moonlet.fish share/moonlet/types/moonlet.lua; do
    [ -e "$prefix/$file" ] || fail "$file was not installed"
  done
  same 3 "$(find "$prefix/include" -name '*.h' | wc -l)"
  same "$("$MOONLET" --version | sed -n '1s/^moonlet //p')" "$(pkg-config --modversion moonlet)"
  # Only what the headers declare is exported.
  others=$(nm -D --defined-only "$prefix/$LIBDIR/libmoonlet.so" | awk '$2 != "A" && $3 !~ /^moon_[a-z]/ && $3 !~ /^_+(asan|ubsan|odr|sanitizer)/ {print $3}')
  same "" "$others"
  ;;
plugin)
  fresh
  make CC="$CC" >/dev/null
  # A plugin is built without sanitizers even where the program has them: it is somebody else's.
  same 'shout: HELLO' "$("$MOONLET" call --plugin ./demo.so demo.shout '{"text":"hello"}')"
  same '{"exit_code":0,"output":"from a child\n"}' "$("$MOONLET" call --plugin ./demo.so demo.child '{}' --yes)"
  "$MOONLET" tools --plugin ./demo.so demo | grep -q '^demo.shout ' || fail "the plugin's tools are not listed"
  "$MOONLET" call --plugin ./demo.so demo.child '{}' </dev/null 2>err && fail "a tool that changes things ran without leave"
  grep -q -- '--policy demo.child=allow' err || fail "the refusal does not say what to do: $(cat err)"
  "$MOONLET" call --plugin ./wrong_abi.so demo.shout '{}' 2>err && fail "a plugin of another ABI was loaded"
  grep -qi abi err || fail "the error does not name the ABI: $(cat err)"
  "$MOONLET" run ./demo.lua "make it loud" --plugin ./demo.so >out
  same 'shout: MAKE IT LOUD' "$(cat out)"
  ;;
embed_shared)
  fresh
  # shellcheck disable=SC2046,SC2086
  $CC "${strict[@]}" $sanitize $(pkg-config --cflags moonlet) embed.c -o embed $(pkg-config --libs moonlet) \
    -Wl,-rpath,"$prefix/$LIBDIR"
  ./embed embed.lua
  ;;
embed_static)
  fresh
  # shellcheck disable=SC2046,SC2086
  $CC "${strict[@]}" $sanitize $(pkg-config --cflags moonlet) embed.c -o embed "$prefix/$LIBDIR/libmoonlet.a" \
    $(pkg-config --static --libs moonlet | sed 's/-lmoonlet//')
  ./embed embed.lua
  if ldd embed | grep -q libmoonlet; then fail "the static program needs the shared library"; fi
  ;;
scaffold_make)
  rm -rf "$dir/$step" && mkdir "$dir/$step" && cd "$dir/$step"
  "$MOONLET" new tool metrics >out
  grep -q "^  make PKG_CONFIG_PATH=$PKG_CONFIG_PATH\$" out || fail "how it is built is not said: $(cat out)"
  cd metrics
  make CC="$CC" >/dev/null
  same 'Hello, x!' "$("$MOONLET" call --plugin ./metrics.so metrics.hello '{"name":"x"}')"
  make test | grep -q 'all tests passed' || fail "the scaffold's own test fails"
  "$MOONLET" new tool metrics .. 2>/dev/null || fail "another directory is refused"
  cd .. && "$MOONLET" new tool metrics 2>err && fail "a project was overwritten"
  grep -q 'will not overwrite metrics/' err || fail "$(cat err)"
  ;;
scaffold_cmake)
  rm -rf "$dir/$step" && mkdir "$dir/$step" && cd "$dir/$step"
  "$MOONLET" new tool test . >out # a name that CMake keeps for itself elsewhere
  "$CMAKE" -S . -B build -DCMAKE_C_COMPILER="$CC" >/dev/null
  "$CMAKE" --build build >/dev/null
  (cd build && ctest --output-on-failure >../ctest.log) || fail "$(cat ctest.log)"
  ;;
*) fail "no such step" ;;
esac
