/*
 * A stand-in for Occlum's /dev/sgx, as its LibOS answers it (0.31, src/libos/src/fs/dev_fs/dev_sgx,
 * file_ops/ioctl/non_builtin.rs): ioctls of one process, in the caller's address space. Preloaded,
 * it takes the place of Occlum's C library, whose ioctl goes to the LibOS and not to a kernel.
 *
 *   OCCLUM_DEVICE    path of the file that is the device
 *   OCCLUM_PLATFORM  Unix socket: takes 64 bytes of report data, answers a quote
 *   OCCLUM_QUOTE     bytes that a quote may have, as the quoting library says
 *   OCCLUM_FAILS     failures of the first calls that generate: EBUSY, EINVAL, ... separated by spaces
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
  const uint8_t *report_data; /* input */
  uint32_t *quote_len;        /* input/output */
  uint8_t *quote_buf;         /* output */
} sgxioc_gen_dcap_quote_arg_t;

#define SGXIOC_GET_DCAP_QUOTE_SIZE _IOR('s', 7, uint32_t)
#define SGXIOC_GEN_DCAP_QUOTE _IOWR('s', 8, sgxioc_gen_dcap_quote_arg_t)

static int is_device(int fd) {
  char link[64], path[PATH_MAX] = {0};
  const char *device = getenv("OCCLUM_DEVICE");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return device && readlink(link, path, sizeof path - 1) > 0 && strcmp(path, device) == 0;
}

static int failed(int number) {
  errno = number;
  return -1;
}

static int next_failure(void) {
  static char *rest;
  if (!rest) rest = strdup(getenv("OCCLUM_FAILS") ? getenv("OCCLUM_FAILS") : "");
  const char *name = strsep(&rest, " ");
  if (!rest) rest = strdup("");
  return strcmp(name, "EBUSY") == 0 ? EBUSY : strcmp(name, "EINVAL") == 0 ? EINVAL : 0;
}

static uint32_t quote_size(void) {
  return getenv("OCCLUM_QUOTE") ? (uint32_t)atol(getenv("OCCLUM_QUOTE")) : 0;
}

/* Exactly quote_size bytes, zeros after the quote; *quote_len is read and never written. */
static int generate(sgxioc_gen_dcap_quote_arg_t *arg) {
  if (!arg->quote_len || !arg->quote_buf || !arg->report_data) return failed(EINVAL);
  if (*arg->quote_len < quote_size()) return failed(EINVAL);
  int failure = next_failure();
  if (failure) return failed(failure);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, getenv("OCCLUM_PLATFORM"), sizeof address.sun_path - 1);
  int platform = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(platform, (struct sockaddr *)&address, sizeof address) != 0) return failed(EINVAL);
  if (write(platform, arg->report_data, 64) != 64) return failed(EINVAL);
  memset(arg->quote_buf, 0, quote_size());
  size_t length = 0;
  for (ssize_t got = 1; got > 0 && length < quote_size(); length += got)
    if ((got = read(platform, arg->quote_buf + length, quote_size() - length)) < 0)
      return failed(EINVAL);
  close(platform);
  return 0;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list more;
  va_start(more, request);
  void *argument = va_arg(more, void *);
  va_end(more);
  if (!is_device(fd)) {
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return next(fd, request, argument);
  }
  if (!argument) return failed(EINVAL);
  switch (request) {
    case SGXIOC_GET_DCAP_QUOTE_SIZE:
      if (quote_size() == 0) return failed(EINVAL); /* "DCAP device not ready" */
      *(uint32_t *)argument = quote_size();
      return 0;
    case SGXIOC_GEN_DCAP_QUOTE:
      return generate(argument);
    default:
      return failed(EINVAL);
  }
}
