/*
 * The system's lookup of names, with names of a test's own: those that end in .test are looked up in the file
 * that NAMES_FILE names, whose lines are a name and an address. A lookup of a name with the address "hangs" does not
 * end while there is a file of that name with .hung behind it, and one with the address "lost" takes the five seconds that
 * the system waits for a lost packet if it begins while there is one with .lost. All others are looked up as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void hang_while_there_is(const char *names)
{
    char path[512];
    snprintf(path, sizeof path, "%s.hung", names);
    while (access(path, F_OK) == 0)
        usleep(100 * 1000);
}

static void wait_for_a_packet_that_is_lost(const char *names)
{
    char path[512];
    snprintf(path, sizeof path, "%s.lost", names);
    if (access(path, F_OK) == 0)
        sleep(5);
}

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = name ? strlen(name) : 0;
    if (length < 5 || strcmp(name + length - 5, ".test") != 0)
        return real(name, service, hints, found);
    const char *path = getenv("NAMES_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return errno == EMFILE ? EAI_SYSTEM : EAI_AGAIN;
    struct addrinfo **end = found;
    *end = NULL;
    char known[256], address[64];
    while (fscanf(file, "%255s %63s", known, address) == 2) {
        if (strcmp(known, name) != 0)
            continue;
        if (strcmp(address, "hangs") == 0)
            hang_while_there_is(path);
        else if (strcmp(address, "lost") == 0)
            wait_for_a_packet_that_is_lost(path);
        else if (real(address, service, hints, end) == 0)
            while (*end)
                end = &(*end)->ai_next;
    }
    fclose(file);
    return *found ? 0 : EAI_NONAME;
}
