/* SPDX-License-Identifier: MIT */
/* Opening libcurl at run time. */
#include "curl_api.h"

#include <dlfcn.h>
#include <string.h>

#ifndef MOON_CURL_SONAME
#define MOON_CURL_SONAME "libcurl.so.4"
#endif

/* The name of a function that is missing, or NULL. */
static const char *find_all(moon__curl_api *api) {
    void *symbol;
    /* ISO C knows no cast from an object pointer to a function pointer; POSIX gives both one representation. */
#define X(name)                                                                                                        \
    if (!(symbol = dlsym(api->library, "curl_" #name))) return "curl_" #name;                                          \
    memcpy(&api->name, &symbol, sizeof symbol);
    MOON__CURL_FUNCTIONS(X)
#undef X
    return NULL;
}

moon_status moon__curl_open(moon__curl_api *api, moon_error *error) {
    if (api->library) return MOON_OK;
    /* RTLD_NODELETE: a resolver's thread may outlive its request, and OpenSSL does not bear being unloaded. */
    api->library = dlopen(MOON_CURL_SONAME, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (!api->library)
        return moon_error_set(error, MOON_EUNSUPPORTED, "cannot open libcurl, which HTTP needs: %s", dlerror());
    const char *missing = find_all(api);
    CURLcode code = missing ? CURLE_OK : api->global_init(CURL_GLOBAL_DEFAULT);
    if (!missing && code == CURLE_OK) return MOON_OK;
    if (missing)
        moon_error_set(error, MOON_EUNSUPPORTED, "%s is too old: it has no %s", MOON_CURL_SONAME, missing);
    else
        moon_error_set(error, MOON_EUNSUPPORTED, "libcurl does not start: %s", api->easy_strerror(code));
    dlclose(api->library);
    api->library = NULL;
    return MOON_EUNSUPPORTED;
}

void moon__curl_close(moon__curl_api *api) {
    if (!api->library) return;
    api->global_cleanup();
    dlclose(api->library);
    api->library = NULL;
}
