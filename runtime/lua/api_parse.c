/* SPDX-License-Identifier: MIT */
/*
 * What moon.parse needs of the host: JSON within prose, and JSON whose end has not come. Both read what a model wrote,
 * so an expected failure is nil and a text that can be told to the model.
 */
#include "json_part.h"
#include "schema.h"
#include "state.h"

#include <string.h>

static int refuse(lua_State *L, const char *why) {
    luaL_pushfail(L);
    lua_pushstring(L, why);
    return 2;
}

/* partial_json(text) → value, whole; or nil, "more"; or nil, why. */
static int partial_json(lua_State *L) {
    size_t n;
    bool whole = false;
    const char *text = luaL_checklstring(L, 1, &n);
    moon_error error = {0};
    moon__buf *out = moon__lua_scratch(L, MOON__JSON_MAX);
    moon_status status = moon__json_complete(out, text, n, &whole, &error);
    if (status == MOON_ENOTFOUND) return refuse(L, "more");
    if (status != MOON_OK || !moon__lua_parse(L, out->p, out->len, 0, &error)) return refuse(L, error.text);
    lua_pushboolean(L, whole);
    return 2;
}

/* The schema at index, expanded, as a text in the scratch buffer. */
static moon__buf *schema_text(lua_State *L, int index) {
    char why[256];
    moon__lua_expand(L, index, "moon.parse.json: schema", false);
    moon__buf *out = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, -1, out, why)) luaL_error(L, "moon.parse.json: schema: %s", why);
    return out;
}

/* What a schema's values can be, of that which is found in prose. */
static unsigned kinds_of(lua_State *L, int schema) {
    const char *type = lua_getfield(L, schema, "type") == LUA_TSTRING ? lua_tostring(L, -1) : "";
    unsigned kinds = strcmp(type, "object") == 0  ? MOON__JSON_OBJECTS
                     : strcmp(type, "array") == 0 ? MOON__JSON_ARRAYS
                                                  : MOON__JSON_OBJECTS | MOON__JSON_ARRAYS;
    lua_pop(L, 1);
    return kinds;
}

/* Checks JSON against a schema; raises nothing. MOON_ESCHEMA: *said has the violations. */
static moon_status check(const moon__schema *schema, const char *json, size_t n, moon__buf *said, moon_error *error) {
    moon_json *value = NULL;
    moon_status status = moon__json_parse(&value, json, n, 0, error);
    if (status == MOON_OK) status = moon__schema_check(schema, value, said);
    moon__json_free(value);
    return status;
}

/* Where the JSON is: the whole text, or what is found in it. */
static moon_status locate(const char *text, size_t n, unsigned kinds, moon__json_place *out, moon_error *error) {
    moon_error ignored;
    *out = (moon__json_place){0, n};
    return moon__json_check(text, n, &ignored) == MOON_OK ? MOON_OK : moon__json_find(out, text, n, kinds, error);
}

/* find_json(text [, schema]) → value; or nil, why. */
static int find_json(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    moon_error error = {0};
    moon__schema *schema = NULL;
    moon__json_place place;
    unsigned kinds = MOON__JSON_OBJECTS | MOON__JSON_ARRAYS;
    lua_settop(L, 2);
    if (n > MOON__JSON_MAX) return refuse(L, "the text is over 16 MiB");
    if (!lua_isnil(L, 2)) {
        moon__buf *json = schema_text(L, 2); /* the expanded one is at 3 */
        kinds = kinds_of(L, 3);
        if (moon__schema_new(&schema, json->p, json->len, &error) != MOON_OK)
            return luaL_error(L, "moon.parse.json: %s", error.text);
    }
    moon__buf *said = moon__lua_scratch(L, MOON__JSON_MAX);
    moon_status status = locate(text, n, kinds, &place, &error);
    if (status == MOON_OK && schema) status = check(schema, text + place.at, place.n, said, &error);
    moon__schema_free(schema);
    if (status != MOON_OK && said->len > 0) {
        luaL_pushfail(L);
        lua_pushliteral(L, "the JSON does not fit what was asked for:\n");
        lua_pushlstring(L, said->p, said->len - (said->p[said->len - 1] == '\n'));
        lua_concat(L, 2);
        return 2;
    }
    if (status != MOON_OK) return refuse(L, error.text[0] ? error.text : moon_status_text(status));
    return moon__lua_parse(L, text + place.at, place.n, 0, &error) ? 1 : refuse(L, error.text);
}

void moon__api_parse(lua_State *L) {
    static const luaL_Reg functions[] = {{"find_json", find_json}, {"partial_json", partial_json}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
