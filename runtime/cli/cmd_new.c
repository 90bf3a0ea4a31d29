/* SPDX-License-Identifier: MIT */
/* moonlet new: files to begin with, that work as they are. Nothing that exists is overwritten. */
#include "cli.h"
#include "output.h"
#include "scaffold.h"
#include "term.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_LENGTH = 40, FILE_MAX = 256 * 1024 };

static const moon__cli_option options[] = {
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

/* A name is a file's, a Lua string's, and for tools a group's and so part of what models call: lower-case letters,
 * digits and "_". */
static bool is_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && !name[n] && n <= NAME_MAX_LENGTH && name[0] >= 'a' && name[0] <= 'z';
}

static void put_line(moon__buf *out, const char *line, const char *name) {
    for (const char *mark; (mark = strstr(line, "%N")); line = mark + 2) {
        moon__buf_add(out, line, (size_t)(mark - line));
        moon__buf_str(out, name);
    }
    moon__buf_str(out, line);
}

static int complain(const char *what, const char *path, int why) {
    moon__cli_error("%s %s: %s", what, path, strerror(why));
    return MOON__EXIT_FAILED;
}

/* Writes one file; it must not be there yet. */
static int write_file(const char *path, const moon__buf *text, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return complain(errno == EEXIST ? "will not overwrite" : "cannot write", path, errno);
    int failed = moon__cli_write(fd, text->p, text->len);
    if (close(fd) != 0 && !failed) failed = errno;
    if (!failed) return MOON__EXIT_OK;
    unlink(path);
    return complain("cannot write", path, failed);
}

static int write_template(const moon__cli_template *t, const char *dir, const char *name) {
    moon__buf path, text;
    moon__buf_init(&path, 8192);
    moon__buf_init(&text, FILE_MAX);
    moon__buf_printf(&path, "%s/", dir);
    put_line(&path, t->name, name);
    for (size_t i = 0; t->lines[i]; i++) {
        put_line(&text, t->lines[i], name);
        moon__buf_char(&text, '\n');
    }
    int code = MOON__EXIT_FAILED;
    if (path.status != MOON_OK || text.status != MOON_OK) {
        moon__cli_error("the path is too long, or memory is out");
    } else {
        code = write_file(path.p, &text, t->mode);
    }
    moon__buf_fini(&path);
    moon__buf_fini(&text);
    return code;
}

/* Looks at all before it writes any, so that a refusal leaves nothing behind. */
static int write_all(const moon__cli_template *templates, const char *dir, const char *name) {
    for (const moon__cli_template *t = templates; t->name; t++) {
        moon__buf path;
        struct stat st;
        moon__buf_init(&path, 8192);
        moon__buf_printf(&path, "%s/", dir);
        put_line(&path, t->name, name);
        bool there = path.p && lstat(path.p, &st) == 0;
        if (there) moon__cli_error("will not overwrite %s", path.p);
        moon__buf_fini(&path);
        if (there) return MOON__EXIT_FAILED;
    }
    int code = MOON__EXIT_OK;
    for (const moon__cli_template *t = templates; t->name && code == MOON__EXIT_OK; t++)
        code = write_template(t, dir, name);
    return code;
}

/* The directory of this program. */
static void find_program(char dir[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
    dir[n > 0 ? n : 0] = 0;
    char *slash = strrchr(dir, '/');
    if (slash) *slash = 0;
}

/* "PREFIX/lib/pkgconfig" of the installation that the program is part of; false if it is part of none. */
static bool find_pkgconfig(moon__buf *path, const char *program_dir) {
    const char *libdir = MOON_CLI_LIBDIR;
    size_t n = strlen(program_dir);
    if (n < 4 || strcmp(program_dir + n - 4, "/bin") != 0) return false;
    moon__buf_printf(path, "%.*s/%s/pkgconfig", *libdir == '/' ? 0 : (int)n - 4, program_dir, libdir);
    size_t length = path->len;
    moon__buf_str(path, "/moonlet.pc");
    bool found = path->p && access(path->p, R_OK) == 0;
    moon__buf_cut(path, length);
    return found;
}

static bool starts_with(const moon__buf *text, const char *start) {
    return text->p && strncmp(text->p, start, strlen(start)) == 0;
}

/* The steps that build a plugin: against an installed Moonlet, which pkg-config has to find. */
static void put_tool_steps(moon__buf *out, const char *dir, const char *name) {
    char program_dir[PATH_MAX];
    moon__buf pkgconfig;
    moon__buf_init(&pkgconfig, 2 * PATH_MAX);
    find_program(program_dir);
    moon__buf_printf(out, "Wrote the plugin project %s. ", dir);
    if (!find_pkgconfig(&pkgconfig, program_dir)) {
        moon__buf_printf(out, "It needs an installed Moonlet: cmake --install %s --prefix $HOME/.local. ", program_dir);
        moon__buf_reset(&pkgconfig);
        moon__buf_printf(&pkgconfig, "$HOME/.local/%s/pkgconfig", MOON_CLI_LIBDIR);
    }
    moon__buf_printf(out, "Next:\n\n  cd %s\n  make", dir);
    bool known = starts_with(&pkgconfig, "/usr/lib") || starts_with(&pkgconfig, "/usr/local/lib");
    if (!known) moon__buf_printf(out, " PKG_CONFIG_PATH=%s", pkgconfig.p ? pkgconfig.p : "");
    moon__buf_printf(out, "\n  moonlet call --plugin ./%s.so %s.hello '{\"name\":\"x\"}'\n  make test\n", name, name);
    moon__buf_fini(&pkgconfig);
}

/* The steps are for a person to read, or to copy: a directory's name is no more than text in them. */
static int print_steps(bool tool, const char *dir, const char *name) {
    moon__buf out, safe;
    moon__buf_init(&out, 64 * 1024);
    moon__buf_init(&safe, 512 * 1024);
    if (tool) {
        put_tool_steps(&out, dir, name);
    } else {
        moon__buf_printf(
            &out,
            "Wrote %s/%s.lua and its tests. Next:\n\n  moonlet run %s/%s.lua \"what is in here?\"\n  moonlet test "
            "%s/%s_test.lua\n"
            "  moonlet doc moon.agent    what an agent can be given; editors complete it with share/moonlet/types\n",
            dir, name, dir, name, dir, name);
    }
    if (out.status == MOON_OK) {
        moon__term_safe(&safe, out.p, out.len);
    } else {
        safe.status = out.status;
    }
    moon__buf_fini(&out);
    return moon__cli_print(&safe);
}

static int make_dir(const char *dir) {
    struct stat st;
    if (mkdir(dir, 0777) == 0) return MOON__EXIT_OK;
    int why = errno;
    if (why == EEXIST && stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) return MOON__EXIT_OK;
    return complain("cannot make the directory", dir, why);
}

static int new_main(const moon__cli_command *self, int argc, char **argv) {
    static const char *const kinds[] = {"agent", "tool", NULL};
    const char *words[3] = {NULL, NULL, NULL};
    size_t n = 0;
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (n == 3) return moon__cli_usage(self, "\"%.80s\" is one operand too many", args.value);
        words[n++] = args.value;
    }
    if (n < 2) return moon__cli_usage(self, "say what (agent or tool) and how it is called");
    bool tool = strcmp(words[0], "tool") == 0;
    if (!tool && strcmp(words[0], "agent") != 0) {
        const char *near = moon__nearest(words[0], kinds);
        return moon__cli_usage(self, "\"%.80s\" cannot be made%s%s; it is agent or tool", words[0],
                               near ? "; did you mean " : "", near ? near : "");
    }
    if (!is_name(words[1]))
        return moon__cli_usage(self, "\"%.80s\" is no name: a letter a-z, then a-z, 0-9 and _, at most %d", words[1],
                               NAME_MAX_LENGTH);
    const char *dir = words[2] ? words[2] : tool ? words[1] : ".";
    int code = make_dir(dir);
    if (code == MOON__EXIT_OK) code = write_all(tool ? moon__cli_new_tool : moon__cli_new_agent, dir, words[1]);
    return code == MOON__EXIT_OK ? print_steps(tool, dir, words[1]) : code;
}

const moon__cli_command moon__cli_cmd_new = {
    .name = "new",
    .operands = "agent|tool NAME [DIR]",
    .summary = "write an agent, or a plugin project with a tool in C, to begin with",
    .about = "new agent writes DIR/NAME.lua and its tests (DIR: the current directory). new tool writes a project to "
             "DIR (default: NAME)\n"
             "that builds against the installed headers, with a test. Both work unedited; nothing is overwritten.",
    .examples = "moonlet new agent reviewer\n"
                "moonlet run ./reviewer.lua \"what changed lately?\"\n"
                "moonlet new tool metrics\n"
                "make -C metrics && moonlet call --plugin metrics/metrics.so metrics.hello '{\"name\":\"x\"}'",
    .options = options,
    .main = new_main,
};
