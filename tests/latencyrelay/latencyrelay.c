/* A TCP relay on the loopback interface that delivers bytes later, as a long line does.
 *
 *     latencyrelay DELAY_US PORT
 *
 * Prints the port that it listens on, and passes connections on to PORT. Bytes of each direction
 * arrive DELAY_US after they were sent, at any rate: a round trip takes twice as long. A direction
 * that has WINDOW_BYTES on its way takes no more. It ends when its standard input does. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_BYTES (64 << 20)
#define PIECE_BYTES (128 << 10)
#define CONNECTIONS_MAX 64

struct piece {
    struct piece *next;
    long long due_ns;
    size_t start, end; /* end 0: the sender has closed */
    char bytes[PIECE_BYTES];
};

/* What is on its way from one socket to another. */
struct direction {
    int from, to, reads, is_open;
    size_t waiting_bytes;
    struct piece *first, **last;
};

static struct direction directions[2 * CONNECTIONS_MAX];
static int count;
static long long delay_ns;

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void be_quick(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void open_direction(struct direction *it, int from, int to)
{
    *it = (struct direction){.from = from, .to = to, .reads = 1, .is_open = 1};
    it->last = &it->first;
}

static void accept_one(int listener, int port)
{
    int near = accept(listener, NULL, NULL), far = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    int slot = 0;
    while (slot < count && (directions[slot].is_open || directions[slot + 1].is_open))
        slot += 2;
    if (near < 0 || far < 0 || slot == 2 * CONNECTIONS_MAX)
        fail("accept");
    if (connect(far, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    be_quick(near);
    be_quick(far);
    open_direction(&directions[slot], near, far);
    open_direction(&directions[slot + 1], far, near);
    if (slot == count)
        count += 2;
}

/* Reads once, and notes when that is due. */
static void take(struct direction *it)
{
    struct piece *piece = malloc(sizeof *piece);
    if (piece == NULL)
        fail("malloc");
    ssize_t got = read(it->from, piece->bytes, PIECE_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        free(piece);
        return;
    }
    piece->next = NULL;
    piece->due_ns = now_ns() + delay_ns;
    piece->start = 0;
    piece->end = got > 0 ? got : 0;
    it->reads = got > 0;
    it->waiting_bytes += piece->end;
    *it->last = piece;
    it->last = &piece->next;
}

static void drop_first(struct direction *it)
{
    struct piece *piece = it->first;
    it->first = piece->next;
    if (it->first == NULL)
        it->last = &it->first;
    free(piece);
}

/* Closes both sockets when both directions have ended. */
static void end(struct direction *it)
{
    struct direction *other = &directions[(it - directions) ^ 1];
    shutdown(it->to, SHUT_WR);
    it->is_open = 0;
    if (!other->is_open) {
        close(it->from);
        close(it->to);
    }
}

/* Writes what is due; returns whether the socket is full. */
static int give(struct direction *it)
{
    while (it->first != NULL && it->first->due_ns <= now_ns()) {
        struct piece *piece = it->first;
        if (piece->end == 0) {
            drop_first(it);
            end(it);
            return 0;
        }
        ssize_t put = send(it->to, piece->bytes + piece->start, piece->end - piece->start, MSG_NOSIGNAL);
        if (put < 0 && (errno == EAGAIN || errno == EINTR))
            return 1;
        if (put < 0)
            put = piece->end - piece->start; /* nobody reads: the sender will notice */
        piece->start += put;
        it->waiting_bytes -= put;
        if (piece->start == piece->end)
            drop_first(it);
    }
    return 0;
}

static void relay(int listener, int port)
{
    for (;;) {
        struct pollfd polled[2 + 2 * (2 * CONNECTIONS_MAX)] = {{listener, POLLIN, 0}, {0, POLLIN, 0}};
        long long next_ns = -1;
        for (int i = 0; i < count; i++) {
            struct direction *it = &directions[i];
            int full = it->is_open && give(it);
            int reads = it->is_open && it->reads && it->waiting_bytes < WINDOW_BYTES;
            polled[2 + 2 * i] = (struct pollfd){reads ? it->from : -1, POLLIN, 0};
            polled[3 + 2 * i] = (struct pollfd){full ? it->to : -1, POLLOUT, 0};
            if (it->is_open && !full && it->first && (next_ns < 0 || it->first->due_ns < next_ns))
                next_ns = it->first->due_ns;
        }
        long long left_ns = next_ns < 0 ? 0 : next_ns - now_ns();
        left_ns = left_ns < 0 ? 0 : left_ns;
        struct timespec left = {left_ns / 1000000000, left_ns % 1000000000};
        if (ppoll(polled, 2 + 2 * count, next_ns < 0 ? NULL : &left, NULL) < 0 && errno != EINTR)
            fail("ppoll");
        if (polled[1].revents)
            return;
        int known = count;
        if (polled[0].revents)
            accept_one(listener, port);
        for (int i = 0; i < known; i++)
            if (polled[2 + 2 * i].revents)
                take(&directions[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: latencyrelay DELAY_US PORT\n");
        return 2;
    }
    delay_ns = atoll(argv[1]) * 1000;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 64) != 0)
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    relay(listener, atoi(argv[2]));
    return 0;
}
