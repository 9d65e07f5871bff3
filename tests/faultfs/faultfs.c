/* A layer between a program and its files, for tests (LD_PRELOAD).
 *
 * Below FAULTFS_ROOT it records every write, truncation, sync, creation, link, rename and removal in
 * FAULTFS_LOG, in the order in which they took effect, and lets writes fail with ENOSPC once the
 * number in FAULTFS_BUDGET (a file of 8 bytes, native order) has come down to 0; -1 is never.
 *
 * A record is a line, followed by the bytes of a write:
 *   W inode offset length     T inode length     S inode path
 *   C inode path     L inode path     R inode from<TAB>to     U path     M path
 * What is mapped into memory is not seen; SQLite maps only the file that it can do without.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 65536
#define REAL(name) ((__typeof__(&name))real(#name, __COUNTER__))

static const char *root;
static size_t root_length;
static int log_fd = -1;
static int64_t *budget;
static char watched[MAX_FDS];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name, int slot) {
  static void *found[64];
  if (!found[slot]) found[slot] = dlsym(RTLD_NEXT, name);
  return found[slot];
}

__attribute__((constructor)) static void begin(void) {
  const char *log = getenv("FAULTFS_LOG"), *limit = getenv("FAULTFS_BUDGET");
  root = getenv("FAULTFS_ROOT");
  if (!root) return;
  root_length = strlen(root);
  if (log) log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (limit) {
    int fd = REAL(open)(limit, O_RDWR | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof *budget, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0 && mapped != MAP_FAILED) budget = mapped;
  }
}

static int below_root(const char *path) {
  return root && path && !strncmp(path, root, root_length) &&
         (path[root_length] == '/' || path[root_length] == 0);
}

static int is_watched(int fd) { return fd >= 0 && fd < MAX_FDS && watched[fd]; }

static unsigned long inode(int fd) {
  struct stat s;
  return fstat(fd, &s) ? 0 : (unsigned long)s.st_ino;
}

static unsigned long inode_of(const char *path) {
  struct stat s;
  return lstat(path, &s) ? 0 : (unsigned long)s.st_ino;
}

/* Whether a write may happen; takes one from the budget. */
static int affordable(void) {
  if (!budget) return 1;
  int64_t left = __atomic_load_n(budget, __ATOMIC_SEQ_CST);
  while (left > 0 && !__atomic_compare_exchange_n(budget, &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
  return left != 0;
}

__attribute__((format(printf, 3, 4)))
static void record(const void *data, size_t length, const char *format, ...) {
  if (log_fd < 0) return;
  char line[3 * PATH_MAX];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  struct iovec parts[2] = {{line, (size_t)n}, {(void *)data, length}};
  if (REAL(writev)(log_fd, parts, 2) != (ssize_t)((size_t)n + length)) abort();
}

static int opened(int (*doing)(int, const char *, int, mode_t), int dir, const char *path, int flags, mode_t mode) {
  if (!below_root(path)) {
    int fd = doing(dir, path, flags, mode);
    if (fd >= 0 && fd < MAX_FDS) watched[fd] = 0;
    return fd;
  }
  pthread_mutex_lock(&order);
  unsigned long before = inode_of(path);
  int saved, fd = -1;
  if (!before && (flags & O_CREAT) && !affordable()) errno = ENOSPC;
  else fd = doing(dir, path, flags, mode);
  saved = errno;
  if (fd >= 0 && fd < MAX_FDS) {
    watched[fd] = 1;
    if (!before && (flags & O_CREAT)) record(NULL, 0, "C %lu %s\n", inode(fd), path);
    else if (flags & O_TRUNC) record(NULL, 0, "T %lu 0\n", inode(fd));
  }
  pthread_mutex_unlock(&order);
  errno = saved;
  return fd;
}

static int do_open(int dir, const char *path, int flags, mode_t mode) { (void)dir; return REAL(open)(path, flags, mode); }
static int do_openat(int dir, const char *path, int flags, mode_t mode) { return REAL(openat)(dir, path, flags, mode); }

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); }

int open(const char *path, int flags, ...) { MODE(flags) return opened(do_open, 0, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(do_open, 0, path, flags | O_LARGEFILE, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return opened(do_openat, dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return opened(do_openat, dir, path, flags | O_LARGEFILE, mode); }

int close(int fd) {
  if (fd == log_fd && fd >= 0) return 0;
  if (fd >= 0 && fd < MAX_FDS) watched[fd] = 0;
  return REAL(close)(fd);
}

static ssize_t written(int fd, const void *data, size_t length, off_t offset, int positioned) {
  pthread_mutex_lock(&order);
  ssize_t n = -1;
  int saved = ENOSPC;
  if (affordable()) {
    off_t at = offset;
    if (!positioned) {
      int flags = fcntl(fd, F_GETFL);
      at = lseek(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
    }
    n = positioned ? REAL(pwrite)(fd, data, length, offset) : REAL(write)(fd, data, length);
    saved = errno;
    if (n > 0) record(data, (size_t)n, "W %lu %lld %zd\n", inode(fd), (long long)at, n);
  }
  pthread_mutex_unlock(&order);
  errno = saved;
  return n;
}

ssize_t write(int fd, const void *data, size_t length) {
  return is_watched(fd) ? written(fd, data, length, 0, 0) : REAL(write)(fd, data, length);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  return is_watched(fd) ? written(fd, data, length, offset, 1) : REAL(pwrite)(fd, data, length, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }
ssize_t writev(int fd, const struct iovec *parts, int n) {
  /* Part by part: a caller goes on after a short write. */
  return is_watched(fd) && n > 0 ? written(fd, parts[0].iov_base, parts[0].iov_len, 0, 0) : REAL(writev)(fd, parts, n);
}

#define ORDERED(type, call, log) \
  pthread_mutex_lock(&order); \
  type result = call; \
  int saved = errno; \
  if (result == 0) log; \
  pthread_mutex_unlock(&order); \
  errno = saved; \
  return result

int ftruncate(int fd, off_t length) {
  if (!is_watched(fd)) return REAL(ftruncate)(fd, length);
  ORDERED(int, REAL(ftruncate)(fd, length), record(NULL, 0, "T %lu %lld\n", inode(fd), (long long)length));
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

static void synced(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = 0;
  record(NULL, 0, "S %lu %s\n", inode(fd), path);
}
int fsync(int fd) {
  if (!is_watched(fd)) return REAL(fsync)(fd);
  ORDERED(int, REAL(fsync)(fd), synced(fd));
}
int fdatasync(int fd) {
  if (!is_watched(fd)) return REAL(fdatasync)(fd);
  ORDERED(int, REAL(fdatasync)(fd), synced(fd));
}

int rename(const char *from, const char *to) {
  if (!below_root(to)) return REAL(rename)(from, to);
  ORDERED(int, REAL(rename)(from, to), record(NULL, 0, "R %lu %s\t%s\n", inode_of(to), from, to));
}
int link(const char *from, const char *to) {
  if (!below_root(to)) return REAL(link)(from, to);
  ORDERED(int, REAL(link)(from, to), record(NULL, 0, "L %lu %s\n", inode_of(to), to));
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
  if (!below_root(to)) return REAL(linkat)(a, from, b, to, flags);
  ORDERED(int, REAL(linkat)(a, from, b, to, flags), record(NULL, 0, "L %lu %s\n", inode_of(to), to));
}
int unlink(const char *path) {
  if (!below_root(path)) return REAL(unlink)(path);
  ORDERED(int, REAL(unlink)(path), record(NULL, 0, "U %s\n", path));
}
int mkdir(const char *path, mode_t mode) {
  if (!below_root(path)) return REAL(mkdir)(path, mode);
  ORDERED(int, REAL(mkdir)(path, mode), record(NULL, 0, "M %s\n", path));
}
