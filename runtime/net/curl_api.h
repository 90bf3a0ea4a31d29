/* SPDX-License-Identifier: MIT */
#ifndef MOON_NET_CURL_API_H
#define MOON_NET_CURL_API_H
/*
 * libcurl, opened when it is first needed: loading it and the thirty libraries behind it takes several times as long as
 * all the rest of a short run. Every function is called through this table; its types are those of curl.h.
 */
#include "buf.h"

#define CURL_DISABLE_TYPECHECK /* its macros know functions, not pointers to them */
#include <curl/curl.h>

#define MOON__CURL_FUNCTIONS(X)                                                                                        \
    X(global_init)                                                                                                     \
    X(global_cleanup)                                                                                                  \
    X(version)                                                                                                         \
    X(free)                                                                                                            \
    X(easy_init)                                                                                                       \
    X(easy_cleanup)                                                                                                    \
    X(easy_setopt)                                                                                                     \
    X(easy_getinfo)                                                                                                    \
    X(easy_strerror)                                                                                                   \
    X(multi_init)                                                                                                      \
    X(multi_cleanup)                                                                                                   \
    X(multi_setopt)                                                                                                    \
    X(multi_add_handle)                                                                                                \
    X(multi_remove_handle)                                                                                             \
    X(multi_socket_action)                                                                                             \
    X(multi_assign)                                                                                                    \
    X(multi_info_read)                                                                                                 \
    X(share_init)                                                                                                      \
    X(share_setopt)                                                                                                    \
    X(share_cleanup)                                                                                                   \
    X(url)                                                                                                             \
    X(url_set)                                                                                                         \
    X(url_get)                                                                                                         \
    X(url_cleanup)

typedef struct moon__curl_api {
    void *library; /* NULL: not open */
#define X(name) __typeof__(&curl_##name) name;
    MOON__CURL_FUNCTIONS(X)
#undef X
} moon__curl_api;

/* Opens and initialises libcurl. MOON_EUNSUPPORTED: it is not there, or too old. */
MOON_MUST_USE moon_status moon__curl_open(moon__curl_api *api, moon_error *error);
void moon__curl_close(moon__curl_api *api);
#endif
