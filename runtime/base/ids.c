/* SPDX-License-Identifier: MIT */
/* Random numbers (xoroshiro128+, seeded through splitmix64), run ids and the hash. None of them is for secrets. */
#include "ids.h"

#include <sys/random.h>
#include <time.h>

#include "scan.h"

static uint64_t rotate(uint64_t x, int by) {
    return (x << by) | (x >> (64 - by));
}

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void moon__random_init(moon__random *random, uint64_t seed) {
    if (!seed && getrandom(random->s, sizeof random->s, GRND_NONBLOCK) == (ssize_t)sizeof random->s) {
        random->s[0] |= 1; /* the state must not be all zero */
        return;
    }
    if (!seed) { /* early in boot, or in a sandbox that forbids it: good enough for jitter and ids */
        struct timespec now = {0};
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + (uint64_t)(uintptr_t)random;
    }
    random->s[0] = splitmix(&seed);
    random->s[1] = splitmix(&seed) | 1;
}

uint64_t moon__random_u64(moon__random *random) {
    uint64_t a = random->s[0], b = random->s[1], result = a + b;
    b ^= a;
    random->s[0] = rotate(a, 24) ^ b ^ (b << 16);
    random->s[1] = rotate(b, 37);
    return result;
}

double moon__random_unit(moon__random *random) {
    return (double)(moon__random_u64(random) >> 11) * 0x1.0p-53;
}

/* 11 digits of 5 bits hold microseconds for a thousand years, 9 are random: 20 characters, the most significant first,
 * in an alphabet whose order is that of its bytes. */
void moon__id_new(char id[MOON__ID_SIZE], moon__random *random, int64_t wall_us) {
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* without i, l, o, u */
    enum { TIME_DIGITS = 11, RANDOM_DIGITS = 9 };
    uint64_t time = wall_us > 0 ? (uint64_t)wall_us : 0, noise = moon__random_u64(random) >> 8;
    for (int i = TIME_DIGITS; i-- > 0; time >>= 5) id[i] = digits[time & 31];
    for (int i = 0; i < RANDOM_DIGITS; i++, noise >>= 5) id[TIME_DIGITS + i] = digits[noise & 31];
    id[TIME_DIGITS + RANDOM_DIGITS] = '\0';
}

/* Both halves of the 128-bit product: every bit of either factor reaches every bit of the result. */
static uint64_t fold(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* 16 bytes a round, the tail padded with zeros and told apart by the length. The state is also carried past each
 * multiplication, so that a factor that happens to be zero does not wipe out what came before. The same bytes give the
 * same hash on every machine. Not cryptographic: whoever chooses the bytes can make them collide. */
uint64_t moon_hash(const void *data, size_t length) {
    const uint64_t k1 = UINT64_C(0xC6A4A7935BD1E995), k2 = UINT64_C(0x8EBC6AF09C88C6E3);
    const char *p = data;
    uint64_t h = k2 ^ length;
    size_t left = length;
    for (; left >= 16; left -= 16, p += 16) h = fold(moon__load64(p) ^ h, moon__load64(p + 8) ^ k1) + rotate(h, 29);
    if (left) {
        char tail[16] = {0};
        memcpy(tail, p, left);
        h = fold(moon__load64(tail) ^ h, moon__load64(tail + 8) ^ k1) + rotate(h, 29);
    }
    return fold(h ^ k1, k2 ^ length) ^ rotate(h, 32);
}
