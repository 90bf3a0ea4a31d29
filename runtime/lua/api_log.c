/* SPDX-License-Identifier: MIT */
/*
 * What the prelude's moon.log needs of the host. Inside a run a line is an event of the run. Outside of one (the
 * script's top level, a model's answer) there is nobody to tell yet: lines are kept, up to a ceiling, and told in the
 * first run that comes.
 */
#include "task.h"

#include <string.h>

static int say(lua_State *L) {
    moon__script *script = moon__script_of(L);
    lua_Integer level = luaL_checkinteger(L, 1);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    luaL_argcheck(L, level >= MOON__DEBUG && level <= MOON__ERROR, 1, "no level");
    if (script->task && script->task->run) {
        moon__task_log(script->task, (moon__log_level)level, text, n);
        return 0;
    }
    size_t before = script->log.len;
    moon__buf_char(&script->log, (char)('0' + level));
    moon__buf_add(&script->log, text, strlen(text));
    moon__buf_char(&script->log, 0);
    if (script->log.status != MOON_OK) { /* full: what came first stays */
        script->log.status = MOON_OK;
        moon__buf_cut(&script->log, before);
    }
    return 0;
}

void moon__log_flush(moon__script *script, moon_run *run) {
    if (!run || script->log.len == 0) return;
    moon__buf log = script->log;
    moon__buf_init(&script->log, log.max);
    for (size_t at = 0; at < log.len;) {
        const char *line = log.p + at;
        moon__run_log(run, (moon__log_level)(line[0] - '0'), line + 1, strlen(line + 1));
        at += strlen(line) + 1;
    }
    moon__buf_fini(&log);
}

void moon__api_log(lua_State *L) {
    lua_pushcfunction(L, say);
    lua_setfield(L, -2, "log");
}
