/* SPDX-License-Identifier: MIT */
/* Arguments as a model writes them: checked against the schema of a tool, printed both ways. The first byte chooses the
 * tool. */
#include <stdint.h>
#include <stdlib.h>

#include "builtin.h"
#include "tools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    size_t n = 0;
    while (moon__builtin_tools[n]) n++;
    moon__tool_entry entry = {0};
    moon_error error = {0};
    if (moon__tool_entry_init(&entry, moon__builtin_tools[data[0] % n], &error)) abort();
    moon__buf why, text;
    moon_json *args = NULL;
    moon__buf_init(&why, 64 << 10);
    moon__buf_init(&text, 8 << 20);
    moon_status status = moon__tool_check(&entry, (const char *)data + 1, size - 1, &args, &why);
    if (status == MOON_OK) {
        /* What was taken is printed as JSON that is taken again. */
        moon_json *again = NULL;
        moon__json_print(&text, args);
        if (text.status || moon__tool_check(&entry, text.p, text.len, &again, &why)) abort();
        moon__json_free(again);
        moon__buf_reset(&text);
        moon__json_print_canonical(&text, args);
        if (text.status || moon__json_check(text.p, text.len, &error)) abort();
    } else if (why.len == 0 && status != MOON_ENOMEM)
        abort(); /* the model must be told why */
    moon__json_free(args);
    moon__buf_fini(&why);
    moon__buf_fini(&text);
    moon__tool_entry_fini(&entry);
    return 0;
}
