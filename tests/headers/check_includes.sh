#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A third-party header is included in the one place that owns it, and tools see the public header alone. The compiler
# enforces the arrows between our own folders; this is the rest of the rule.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bad=0

# HEADER PLACES...: the header (a regular expression) may be included only by files that match one of the places.
only() {
  local header=$1 hits place
  shift
  hits=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$header[>\"]" runtime tools --include='*.c' --include='*.h' || true)
  for place in "$@"; do hits=$(grep -vE "^$place" <<<"$hits" || true); done
  if [ -n "$hits" ]; then
    printf 'only %s may include %s:\n%s\n' "$*" "$header" "$hits" >&2
    bad=1
  fi
}

only 'uv\.h' runtime/loop/
only 'curl/.*' runtime/net/
only '(cjson/)?cJSON\.h' runtime/base/json
only '(lua|lauxlib|lualib|luaconf)\.h' runtime/lua/
only 'git2(/.*)?(\.h)?' tools/git
only 'pcre2\.h' runtime/base/ tools/
only 'sqlite3\.h' runtime/journal/
only 'nettle/.*' runtime/base/

# Built-in tools are ordinary clients of <moonlet/tool.h>: of the runtime they include nothing else.
own=$(grep -rnE '#[[:space:]]*include[[:space:]]*<moonlet/' tools --include='*.c' --include='*.h' | grep -v '<moonlet/tool\.h>' || true)
if [ -n "$own" ]; then
  printf 'tools/ may include <moonlet/tool.h> only:\n%s\n' "$own" >&2
  bad=1
fi
# Public headers include each other and the C library only.
private=$(grep -nE '#[[:space:]]*include[[:space:]]*"' runtime/include/moonlet/*.h || true)
if [ -n "$private" ]; then
  printf 'public headers include no private ones:\n%s\n' "$private" >&2
  bad=1
fi
exit $bad
