/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <errno.h>
#include <sys/signalfd.h>

int moon__cli_signals_open(sigset_t *old_mask) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaddset(&set, numbers[i]);
    }
    if (sigprocmask(SIG_BLOCK, &set, old_mask) != 0) return -1;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        int why = errno;
        sigprocmask(SIG_SETMASK, old_mask, NULL);
        errno = why;
    }
    return fd;
}
