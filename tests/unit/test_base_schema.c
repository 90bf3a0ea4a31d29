/* SPDX-License-Identifier: MIT */
/* JSON Schema: each keyword, the words that a model reads, unsound schemas, and work that stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "regex.h"
#include "schema.h"

static moon__schema *must_compile(const char *text) {
    moon_error error = {0};
    moon__schema *schema = NULL;
    if (moon__schema_new(&schema, text, strlen(text), &error)) fail_msg("%s: %s", text, error.text);
    return schema;
}

/* Gives the violations; the caller frees them. */
static char *check(const moon__schema *schema, const char *value, moon_status *status) {
    moon_json *json = NULL;
    moon__buf buf;
    if (moon__json_parse(&json, value, strlen(value), 0, NULL)) fail_msg("%s is no JSON", value);
    moon__buf_init(&buf, 100000);
    *status = moon__schema_check(schema, json, &buf);
    assert_int_equal(moon__schema_check(schema, json, NULL), *status);
    moon__json_free(json);
    assert_int_equal(*status != MOON_OK, buf.len > 0);
    return moon__buf_take(&buf);
}

static void test_schema__keywords(void **state) {
    (void)state;
    static const struct {
        const char *schema;
        const char *good[5], *bad[6]; /* values, up to a NULL */
    } rows[] = {
        {"true", {"1", "null"}, {0}},
        {"false", {0}, {"1", "null", "{}"}},
        {"{}", {"1", "null", "[{}]"}, {0}},
        {"{\"type\":\"integer\"}", {"1", "1.0", "-5", "1e20"}, {"1.5", "\"1\"", "null", "true"}},
        {"{\"type\":\"number\"}", {"1", "1.5"}, {"\"1\"", "[]"}},
        {"{\"type\":[\"string\",\"null\"]}", {"\"x\"", "null"}, {"1", "[]"}},
        {"{\"type\":\"boolean\"}", {"true", "false"}, {"0", "\"true\""}},
        {"{\"enum\":[1,\"a\",null,[1,{\"x\":1}]]}", {"1.0", "\"a\"", "null", "[1,{\"x\":1}]"}, {"2", "\"A\"", "[1]"}},
        {"{\"const\":{\"a\":[1],\"b\":2}}", {"{\"b\":2,\"a\":[1.0]}"}, {"{\"a\":[1]}", "1"}},
        {"{\"minLength\":2,\"maxLength\":3}", {"\"ab\"", "\"äöü\"", "\"😀😀\"", "5"}, {"\"a\"", "\"ä\"", "\"abcd\""}},
        {"{\"pattern\":\"^a[0-9]+$\"}", {"\"a1\"", "7"}, {"\"a\"", "\"xa1\"", "\"a1\\n\""}},
        {"{\"pattern\":\"\\\\u00e9|\\\\d\"}", {"\"é\"", "\"x1x\""}, {"\"e\"", "\"\""}},
        {"{\"minimum\":1,\"maximum\":3}", {"1", "3", "\"x\""}, {"0.999", "3.001"}},
        {"{\"exclusiveMinimum\":1,\"exclusiveMaximum\":3}", {"1.001", "2"}, {"1", "3"}},
        {"{\"multipleOf\":0.1}", {"0.3", "1", "1.1", "-0.7"}, {"0.35"}},
        {"{\"multipleOf\":3}", {"9", "0", "-3"}, {"10", "1.5", "9007199254740991"}},
        {"{\"items\":{\"type\":\"string\"}}", {"[]", "[\"a\"]", "{}"}, {"[1]", "[\"a\",null]"}},
        {"{\"prefixItems\":[{\"type\":\"string\"},true],\"items\":false}", {"[\"a\",1]", "[]"}, {"[1]", "[\"a\",1,2]"}},
        {"{\"contains\":{\"const\":1}}", {"[0,1]", "5"}, {"[]", "[0,2]"}},
        {"{\"minItems\":1,\"maxItems\":2}", {"[1]", "[1,2]", "{}"}, {"[]", "[1,2,3]"}},
        {"{\"uniqueItems\":true}",
         {"[1,\"1\",true,null]", "[{\"a\":1},{\"a\":2}]"},
         {"[1,2,1.0]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]"}},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}}}", {"{}", "{\"a\":\"x\"}", "{\"b\":1}", "[]"}, {"{\"a\":1}"}},
        {"{\"required\":[\"a\",\"b\"]}", {"{\"b\":1,\"a\":null}"}, {"{}", "{\"a\":1}"}},
        {"{\"properties\":{\"a\":true},\"additionalProperties\":false}",
         {"{}", "{\"a\":1}"},
         {"{\"b\":1}", "{\"A\":1}"}},
        {"{\"additionalProperties\":{\"type\":\"integer\"}}", {"{\"x\":1}"}, {"{\"x\":\"1\"}"}},
        {"{\"patternProperties\":{\"^x_\":{\"type\":\"integer\"}},\"additionalProperties\":false}",
         {"{\"x_a\":1}"},
         {"{\"x_a\":\"1\"}", "{\"a\":1}"}},
        {"{\"propertyNames\":{\"maxLength\":3}}", {"{\"abc\":1}"}, {"{\"abcd\":1}"}},
        {"{\"minProperties\":1,\"maxProperties\":2}", {"{\"a\":1}"}, {"{}", "{\"a\":1,\"b\":2,\"c\":3}"}},
        {"{\"allOf\":[{\"minimum\":1},{\"maximum\":3}]}", {"2"}, {"0", "4"}},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":5}]}", {"\"x\"", "5"}, {"4"}},
        {"{\"oneOf\":[{\"minimum\":5},{\"multipleOf\":2}]}", {"4", "7"}, {"6", "3"}},
        {"{\"not\":{\"type\":\"string\"}}", {"1"}, {"\"x\""}},
        {"{\"if\":{\"type\":\"string\"},\"then\":{\"minLength\":2},\"else\":{\"minimum\":5}}",
         {"\"ab\"", "5"},
         {"\"a\"", "4"}},
        {"{\"then\":false}", {"1"}, {0}},
        {"{\"$ref\":\"#/$defs/a~1b%25\",\"$defs\":{\"a/b%\":{\"type\":\"null\"}}}", {"null"}, {"1"}},
        {"{\"$ref\":\"#/$defs/a\",\"minimum\":3,\"$defs\":{\"a\":{\"type\":\"integer\"}}}", {"3"}, {"2", "3.5"}},
        {"{\"$ref\":\"#/x/1\",\"x\":[1,{\"const\":2}]}", {"2"}, {"1"}},
        {"{\"properties\":{\"next\":{\"$ref\":\"#\"},\"v\":{\"type\":\"integer\"}}}",
         {"{\"v\":1,\"next\":{\"next\":{}}}"},
         {"{\"next\":{\"next\":{\"v\":\"x\"}}}"}},
        {"{\"format\":\"date\",\"title\":\"t\",\"x-mine\":5}", {"\"no date\""}, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__schema *schema = must_compile(rows[i].schema);
        moon_status status;
        for (size_t j = 0; j < 5 && rows[i].good[j]; j++) {
            char *why = check(schema, rows[i].good[j], &status);
            if (status) fail_msg("%s refuses %s: %s", rows[i].schema, rows[i].good[j], why);
            free(why);
        }
        for (size_t j = 0; j < 6 && rows[i].bad[j]; j++) {
            free(check(schema, rows[i].bad[j], &status));
            if (status != MOON_ESCHEMA) fail_msg("%s takes %s", rows[i].schema, rows[i].bad[j]);
        }
        moon__schema_free(schema);
    }
}

#define TOOL                                                                                                           \
    "{\"type\":\"object\",\"required\":[\"path\"],\"additionalProperties\":false,\"properties\":{"                     \
    "\"path\":{\"type\":\"string\"},\"limit\":{\"type\":[\"integer\",\"null\"],\"minimum\":1},"                        \
    "\"mode\":{\"enum\":[\"fast\",\"slow\"]},\"files\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}"

static void test_schema__words_for_the_model(void **state) {
    (void)state;
    static const struct {
        const char *schema, *value, *said;
    } rows[] = {
        {TOOL, "[]", "(root): expected object, got array"},
        {TOOL, "{}", "/path: required, but missing; expected string"},
        {TOOL, "{\"path\":\"x\",\"files\":[\"a\",\"b\",3]}", "/files/2: expected string, got number"},
        {TOOL, "{\"path\":\"x\",\"limt\":3}", "/limt: unknown property; did you mean \"limit\"?"},
        {TOOL, "{\"path\":\"x\",\"recursive\":3}",
         "/recursive: unknown property; expected \"files\", \"limit\", \"mode\" or \"path\""},
        {TOOL, "{\"path\":\"x\",\"limit\":2.5}", "/limit: expected null or integer, got 2.5"},
        {TOOL, "{\"path\":\"x\",\"limit\":0}", "/limit: expected at least 1, got 0"},
        {TOOL, "{\"path\":\"x\",\"mode\":\"fsat\"}",
         "/mode: expected one of \"fast\", \"slow\", got \"fsat\"; did you mean \"fast\"?"},
        {TOOL, "{\"limit\":true,\"pth\":1}",
         "/limit: expected null or integer, got boolean\n/pth: unknown property; did you mean \"path\"?\n/path: "
         "required, but missing; expected string"},
        {"{\"properties\":{\"a\":{\"additionalProperties\":false}}}", "{\"a\":{\"b/~\\n\":1}}",
         "/a/b~1~0\\u000a: unknown property; none is expected"},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "5", "(root): expected null or string, got number"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"required\":[\"a\"]}]}", "{}",
         "/a: required, but missing"},
        {"{\"oneOf\":[{\"properties\":{\"k\":{\"const\":1},\"v\":{\"type\":\"string\"}}},{\"properties\":{\"k\":{"
         "\"const\":2},\"v\":{\"type\":\"null\"}}}]}",
         "{\"k\":2,\"v\":7}",
         "(root): fits none of the 2 alternatives; alternative 2 is the nearest:\n/v: expected null, got number"},
        {"{\"oneOf\":[true,{},false]}", "1", "(root): fits alternatives 1 and 2; expected exactly one"},
        {"{\"not\":{\"minimum\":3}}", "4", "(root): must not fit {\"minimum\":3}"},
        {"{\"uniqueItems\":true}", "[\"a\",\"b\",\"a\"]", "/2: repeats item 0; items must differ"},
        {"{\"pattern\":\"^[a-z]+$\"}", "\"A b\"",
         "(root): expected text that matches the pattern ^[a-z]+$, got \"A b\""},
        {"{\"maxLength\":3}", "\"abcd\"", "(root): expected at most 3 characters, got 4"},
        {"{\"prefixItems\":[true],\"items\":false}", "[1,2]", "/1: too many items; expected at most 1"},
        {"{\"propertyNames\":{\"enum\":[\"x\"]}}", "{\"y\":1}",
         "/y: the name of this property is not allowed:\n/y: expected one of \"x\", got \"y\"; did you mean \"x\"?"},
        {"{\"required\":[\"a\"],\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
         "e\"}},\"$defs\":{\"e\":{\"enum\":[\"p\",1]}}}",
         "{}", "/a: required, but missing; expected one of \"p\", 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_status status;
        moon__schema *schema = must_compile(rows[i].schema);
        char *said = check(schema, rows[i].value, &status);
        assert_int_equal(status, MOON_ESCHEMA);
        assert_string_equal(said, rows[i].said);
        free(said);
        moon__schema_free(schema);
    }
}

static void test_schema__at_most_eight_short_lines(void **state) {
    (void)state;
    moon__schema *schema = must_compile("{\"items\":{\"enum\":[\"x\"]}}");
    moon__buf value;
    moon_status status;
    moon__buf_init(&value, 1 << 20);
    for (int i = 0; i < 20; i++) {
        moon__buf_str(&value, i ? ",\"" : "[\"");
        for (int j = 0; j < 5000; j++) moon__buf_str(&value, "é");
        moon__buf_char(&value, '"');
    }
    moon__buf_char(&value, ']');
    char *said = check(schema, value.p, &status);
    size_t lines = 1;
    for (const char *p = said; (p = strchr(p, '\n')); p++) lines++;
    assert_int_equal(lines, 8);
    assert_true(strlen(said) < 8 * 250);
    assert_non_null(strstr(said, "\"… (10000 bytes)"));
    free(said);
    moon__buf_fini(&value);
    moon__schema_free(schema);
}

static void test_schema__unsound_ones_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *schema, *error; /* the error contains this */
    } rows[] = {
        {"", "schema: expected a value"},
        {"{\"type\":", "schema: "},
        {"5", "(root): expected a schema"},
        {"{\"type\":\"strng\"}", "/type: unknown type \"strng\"; did you mean \"string\"?"},
        {"{\"type\":7}", "/type: expected the name of a type"},
        {"{\"type\":[]}", "/type: expected at least one type"},
        {"{\"properties\":[]}", "/properties: expected an object"},
        {"{\"properties\":{\"a\":{\"items\":3}}}", "/properties/a/items: expected a schema"},
        {"{\"required\":\"a\"}", "/required: expected an array"},
        {"{\"required\":[1]}", "/required: expected names"},
        {"{\"enum\":{}}", "/enum: expected an array"},
        {"{\"minLength\":-1}", "/minLength: expected a whole number"},
        {"{\"maxItems\":1.5}", "/maxItems: expected a whole number"},
        {"{\"minimum\":\"1\"}", "/minimum: expected a number"},
        {"{\"multipleOf\":0}", "/multipleOf: expected a number over 0"},
        {"{\"uniqueItems\":1}", "/uniqueItems: expected true or false"},
        {"{\"pattern\":\"(\"}", "/pattern: the pattern is not sound at byte 1"},
        {"{\"patternProperties\":{\"[\":true}}", "/patternProperties/[: the pattern is not sound"},
        {"{\"anyOf\":[]}", "/anyOf: expected at least one schema"},
        {"{\"allOf\":{}}", "/allOf: expected an array"},
        {"{\"$defs\":{\"x\":1}}", "/$defs/x: expected a schema"},
        {"{\"$ref\":\"#/$defs/x\"}", "names no place in this document"},
        {"{\"$ref\":\"http://example.com/s.json\"}", "names no place in this document"},
        {"{\"$ref\":\"#/a\",\"a\":7}", "/$ref/#~1a: expected a schema"},
        {"{\"$ref\":\"#\"}", "leads back to itself"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/a\"}],\"$defs\":{\"a\":{\"not\":{\"$ref\":\"#\"}}}}",
         "leads back to itself"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_error error = {0};
        moon__schema *schema = (moon__schema *)&error;
        if (moon__schema_new(&schema, rows[i].schema, strlen(rows[i].schema), &error) != MOON_EINVAL)
            fail_msg("%s: taken", rows[i].schema);
        assert_null(schema);
        if (!strstr(error.text, rows[i].error)) fail_msg("%s: %s", rows[i].schema, error.text);
    }
    moon__schema_free(NULL);
}

static void test_schema__text_is_compact(void **state) {
    (void)state;
    moon__schema *schema = must_compile(" { \"type\" : \"object\",\n \"maximum\" : 1e15 } ");
    assert_string_equal(moon__schema_text(schema), "{\"type\":\"object\",\"maximum\":1000000000000000}");
    moon__schema_free(schema);
}

/* Schemas and values made to take long: each ends with a limit, soon. */
static void test_schema__work_is_bounded(void **state) {
    (void)state;
    moon__buf text;
    moon__buf_init(&text, 1 << 23);
    moon_status status;

    /* Two references a level double the work with each of 40 levels. */
    moon__buf_str(&text, "{\"$ref\":\"#/$defs/a0\",\"$defs\":{\"a40\":{\"type\":\"null\"}");
    for (int i = 0; i < 40; i++)
        moon__buf_printf(&text, ",\"a%d\":{\"allOf\":[{\"$ref\":\"#/$defs/a%d\"},{\"$ref\":\"#/$defs/a%d\"}]}", i,
                         i + 1, i + 1);
    moon__buf_str(&text, "}}");
    moon__schema *schema = must_compile(text.p);
    char *said = check(schema, "null", &status);
    assert_int_equal(status, MOON_ELIMIT);
    assert_string_equal(said, "(root): too large, too deep or too complex to be checked");
    free(said);
    moon__schema_free(schema);

    /* A pattern that backtracks without end. */
    schema = must_compile("{\"pattern\":\"^(a+)+$\"}");
    said = check(schema, "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"", &status);
    assert_int_equal(status, MOON_ELIMIT);
    free(said);
    moon__schema_free(schema);

    /* Two million items. */
    moon__buf_reset(&text);
    for (int i = 0; i < 2000000; i++) moon__buf_str(&text, i ? ",0" : "[0");
    moon__buf_char(&text, ']');
    schema = must_compile("{\"items\":{\"type\":\"integer\"}}");
    free(check(schema, text.p, &status));
    assert_int_equal(status, MOON_ELIMIT);
    moon__schema_free(schema);
    moon__buf_fini(&text);
}

static void test_schema__recursive_schema_on_the_deepest_value(void **state) {
    (void)state;
    char value[2 * MOON__JSON_DEPTH + 1];
    memset(value, '[', MOON__JSON_DEPTH);
    memset(value + MOON__JSON_DEPTH, ']', MOON__JSON_DEPTH);
    value[2 * MOON__JSON_DEPTH] = '\0';
    moon_status status;
    moon__schema *schema = must_compile("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}");
    free(check(schema, value, &status));
    assert_int_equal(status, MOON_OK);
    moon__schema_free(schema);
}

static void test_regex__finds(void **state) {
    (void)state;
    moon__regex *regex;
    assert_int_equal(moon__regex_new(&regex, "b+c", 3, NULL), MOON_OK);
    assert_int_equal(moon__regex_find(regex, "abbbcd", 6), MOON_OK);
    assert_int_equal(moon__regex_find(regex, "abbbcd", 4), MOON_ENOTFOUND);
    moon__regex_free(regex);
    moon__regex_free(NULL);
    assert_int_equal(moon__regex_new(&regex, "\\C", 2, NULL), MOON_EINVAL);
    assert_null(regex);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema__keywords),
        cmocka_unit_test(test_schema__words_for_the_model),
        cmocka_unit_test(test_schema__at_most_eight_short_lines),
        cmocka_unit_test(test_schema__unsound_ones_are_refused),
        cmocka_unit_test(test_schema__text_is_compact),
        cmocka_unit_test(test_schema__work_is_bounded),
        cmocka_unit_test(test_schema__recursive_schema_on_the_deepest_value),
        cmocka_unit_test(test_regex__finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
