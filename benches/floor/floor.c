/* The floor: the least work that lists and stats a whole tree on this machine.
 *
 *     floor DIR [THREADS]
 *
 * Each directory is opened once, relative to its parent's descriptor, listed with getdents64, and every name in it is looked at
 * with statx relative to the directory's descriptor. Nothing is compared, sorted, kept or written. Prints one JSON line with
 * what was seen and the seconds between the first open and the last statx.
 *
 * It must never do less than an honest scanner has to (one statx per name, directories too), and never more.
 *
 * Work is a stack of directories per thread: its owner takes the newest (depth first, so few descriptors are open at a time), an
 * idle thread takes the oldest of another (the largest subtree). A parent's descriptor is closed when its last child was opened. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 256, BUFFER_BYTES = 64 * 1024, SPINS_BEFORE_YIELD = 64 };

/* The kernel's record: <linux/dirent.h> is not for programs. */
struct dirent64_record {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* A directory that stays open until all its children are. */
struct parent {
    int fd;
    atomic_int users;
};

struct work {
    struct parent *parent;
    char *name;
};

struct stack {
    pthread_mutex_t lock;
    struct work *items; /* items[first..end] wait */
    size_t first, end, room;
};

struct walker {
    pthread_t thread;
    unsigned index;
    struct stack stack;
    struct work *found; /* children of the directory in hand */
    size_t found_len, found_room;
    char *buffer;
    uint64_t dirs, files, bytes, errors;
} __attribute__((aligned(128)));

static struct walker walkers[THREADS_MAX];
static unsigned walker_count;
static atomic_long unfinished; /* directories waiting or in hand; 0 = done */

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *grown(void *old, size_t bytes)
{
    void *new = realloc(old, bytes);
    if (new == NULL)
        die("out of memory");
    return new;
}

static void release(struct parent *parent)
{
    if (atomic_fetch_sub_explicit(&parent->users, 1, memory_order_acq_rel) == 1) {
        close(parent->fd);
        free(parent);
    }
}

/* All children of a directory at once: one lock per directory. */
static void push(struct stack *stack, const struct work *items, size_t count)
{
    pthread_mutex_lock(&stack->lock);
    if (stack->first == stack->end)
        stack->first = stack->end = 0;
    if (stack->end + count > stack->room) {
        stack->room = (stack->end + count) * 2;
        stack->items = grown(stack->items, stack->room * sizeof *stack->items);
    }
    memcpy(stack->items + stack->end, items, count * sizeof *items);
    stack->end += count;
    pthread_mutex_unlock(&stack->lock);
}

static int pop_newest(struct stack *stack, struct work *out)
{
    int got = 0;
    pthread_mutex_lock(&stack->lock);
    if (stack->first < stack->end) {
        *out = stack->items[--stack->end];
        got = 1;
    }
    pthread_mutex_unlock(&stack->lock);
    return got;
}

static int steal_oldest(struct stack *stack, struct work *out)
{
    int got = 0;
    if (pthread_mutex_trylock(&stack->lock) != 0)
        return 0;
    if (stack->first < stack->end) {
        *out = stack->items[stack->first++];
        got = 1;
    }
    pthread_mutex_unlock(&stack->lock);
    return got;
}

static void remember(struct walker *self, struct parent *parent, const char *name)
{
    if (self->found_len == self->found_room) {
        self->found_room = self->found_room ? self->found_room * 2 : 256;
        self->found = grown(self->found, self->found_room * sizeof *self->found);
    }
    size_t bytes = strlen(name) + 1;
    char *copy = grown(NULL, bytes);
    memcpy(copy, name, bytes);
    self->found[self->found_len++] = (struct work){.parent = parent, .name = copy};
}

static int is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Lists one open directory and stats every name in it; takes the descriptor over. */
static void list(struct walker *self, int fd)
{
    struct parent *parent = grown(NULL, sizeof *parent);
    parent->fd = fd;
    self->found_len = 0;
    for (;;) {
        long got = syscall(SYS_getdents64, fd, self->buffer, (unsigned long)BUFFER_BYTES);
        if (got <= 0) {
            self->errors += got < 0;
            break;
        }
        for (long at = 0; at < got;) {
            struct dirent64_record *record = (struct dirent64_record *)(self->buffer + at);
            at += record->reclen;
            if (is_dot(record->name))
                continue;
            struct statx stat;
            if (statx(fd, record->name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_BTIME, &stat) != 0) {
                self->errors++;
                continue;
            }
            if (S_ISDIR(stat.stx_mode)) {
                self->dirs++;
                remember(self, parent, record->name);
            } else {
                self->files++;
                self->bytes += stat.stx_size;
            }
        }
    }
    if (self->found_len == 0) {
        close(fd);
        free(parent);
        return;
    }
    atomic_init(&parent->users, (int)self->found_len);
    atomic_fetch_add_explicit(&unfinished, (long)self->found_len, memory_order_relaxed);
    push(&self->stack, self->found, self->found_len);
}

static void visit(struct walker *self, struct work work)
{
    int fd = openat(work.parent->fd, work.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    free(work.name);
    release(work.parent);
    if (fd < 0)
        self->errors++;
    else
        list(self, fd);
    atomic_fetch_sub_explicit(&unfinished, 1, memory_order_release);
}

static void *walk(void *argument)
{
    struct walker *self = argument;
    unsigned idle = 0;
    while (atomic_load_explicit(&unfinished, memory_order_acquire) > 0) {
        struct work work;
        int got = pop_newest(&self->stack, &work);
        for (unsigned step = 1; !got && step < walker_count; step++)
            got = steal_oldest(&walkers[(self->index + step) % walker_count].stack, &work);
        if (got) {
            idle = 0;
            visit(self, work);
        } else if (++idle > SPINS_BEFORE_YIELD) {
            sched_yield();
        }
    }
    return NULL;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: floor DIR [THREADS]\n");
        return 2;
    }
    long threads = argc == 3 ? strtol(argv[2], NULL, 10) : 2;
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "floor: THREADS must be 1 to %d\n", THREADS_MAX);
        return 2;
    }
    walker_count = (unsigned)threads;

    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (unsigned i = 0; i < walker_count; i++) {
        walkers[i].index = i;
        walkers[i].buffer = grown(NULL, BUFFER_BYTES);
        pthread_mutex_init(&walkers[i].stack.lock, NULL);
    }

    double start = now();
    int root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        die(argv[1]);
    atomic_init(&unfinished, 1);
    list(&walkers[0], root);
    atomic_fetch_sub(&unfinished, 1);
    for (unsigned i = 1; i < walker_count; i++)
        if (pthread_create(&walkers[i].thread, NULL, walk, &walkers[i]) != 0)
            die("pthread_create");
    walk(&walkers[0]);
    for (unsigned i = 1; i < walker_count; i++)
        pthread_join(walkers[i].thread, NULL);
    double seconds = now() - start;

    uint64_t dirs = 0, files = 0, bytes = 0, errors = 0;
    for (unsigned i = 0; i < walker_count; i++) {
        dirs += walkers[i].dirs;
        files += walkers[i].files;
        bytes += walkers[i].bytes;
        errors += walkers[i].errors;
    }
    printf("{\"seconds\":%.6f,\"threads\":%u,\"dirs\":%llu,\"files\":%llu,\"bytes\":%llu,\"errors\":%llu}\n", seconds, walker_count,
           (unsigned long long)dirs, (unsigned long long)files, (unsigned long long)bytes, (unsigned long long)errors);
    return errors == 0 ? 0 : 1;
}
