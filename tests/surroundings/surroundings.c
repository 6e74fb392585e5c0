/*
 * The system's clock and sockets, for a process that must believe in others. The wall clock is ahead of the real one by the
 * seconds in the file that CLOCK_FILE names, and runs on. If NO_IPV6 is set, there is no IPv6, as in a kernel without it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

typedef int tell(clockid_t, struct timespec *);
typedef int open_socket(int, int, int);

int clock_gettime(clockid_t clock, struct timespec *now)
{
    tell *real = (tell *)dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *path = getenv("CLOCK_FILE");
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    long long ahead;
    if (file && fscanf(file, "%lld", &ahead) == 1)
        now->tv_sec += ahead;
    if (file)
        fclose(file);
    return result;
}

int socket(int family, int type, int protocol)
{
    open_socket *real = (open_socket *)dlsym(RTLD_NEXT, "socket");
    if (family == AF_INET6 && getenv("NO_IPV6")) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return real(family, type, protocol);
}
