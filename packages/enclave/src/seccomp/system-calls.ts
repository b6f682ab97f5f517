/**
 * Linux's system calls on x86-64 by name and number, in three lists: what a program in an instance may
 * call, what it may not, and (in `filter.ts`) what it may call with some arguments. A call in no list
 * is one that this filter does not know.
 *
 * Chosen from the sets that container engines allow by default: moby's `profiles/seccomp/default.json`
 * and systemd's `@system-service`, without what those allow for debuggers, tracers and machines with
 * more rights (`ptrace`, `process_vm_*`, `bpf`, `perf_event_open`, `keyctl`, `mount`, `unshare`,
 * `userfaultfd`, `io_uring_*`, `vmsplice`, `modify_ldt`).
 * @see Linux, arch/x86/entry/syscalls/syscall_64.tbl
 */

/** A system call's number by its name. */
type Table = ReadonlyMap<string, number>

function table(groups: readonly string[]): Table {
  return new Map(
    groups
      .flatMap(group => group.trim().split(/\s+/))
      .map(entry => {
        const [name = '', number] = entry.split(':')
        return [name, Number(number)]
      }),
  )
}

/** What a program may call, with any arguments. */
export const ALLOWED: Table = table([
  // Files and folders.
  `open:2 openat:257 openat2:437 creat:85 close:3 close_range:436 read:0 write:1 readv:19
   writev:20 pread64:17 pwrite64:18 preadv:295 pwritev:296 preadv2:327 pwritev2:328 lseek:8
   stat:4 fstat:5 lstat:6 newfstatat:262 statx:332 statfs:137 fstatfs:138 access:21
   faccessat:269 faccessat2:439 getdents:78 getdents64:217 getcwd:79 chdir:80 fchdir:81
   mkdir:83 mkdirat:258 rmdir:84 mknod:133 mknodat:259 rename:82 renameat:264 renameat2:316
   link:86 linkat:265 unlink:87 unlinkat:263 symlink:88 symlinkat:266 readlink:89
   readlinkat:267 chmod:90 fchmod:91 fchmodat:268 fchmodat2:452 chown:92 fchown:93 lchown:94
   fchownat:260 utime:132 utimes:235 futimesat:261 utimensat:280 truncate:76 ftruncate:77
   fallocate:285 fadvise64:221 readahead:187 cachestat:451 copy_file_range:326 sendfile:40
   splice:275 tee:276 fsync:74 fdatasync:75 sync:162 syncfs:306 sync_file_range:277 flock:73
   umask:95 name_to_handle_at:303`,
  // Extended attributes.
  `getxattr:191 lgetxattr:192 fgetxattr:193 setxattr:188 lsetxattr:189 fsetxattr:190
   listxattr:194 llistxattr:195 flistxattr:196 removexattr:197 lremovexattr:198
   fremovexattr:199`,
  // Descriptors, pipes, waiting.
  `dup:32 dup2:33 dup3:292 fcntl:72 pipe:22 pipe2:293 poll:7 ppoll:271 select:23 pselect6:270
   epoll_create:213 epoll_create1:291 epoll_ctl:233 epoll_wait:232 epoll_pwait:281
   epoll_pwait2:441 eventfd:284 eventfd2:290 signalfd:282 signalfd4:289 timerfd_create:283
   timerfd_settime:286 timerfd_gettime:287 inotify_init:253 inotify_init1:294
   inotify_add_watch:254 inotify_rm_watch:255 io_setup:206 io_destroy:207 io_submit:209
   io_cancel:210 io_getevents:208 io_pgetevents:333`,
  // Memory.
  `brk:12 mmap:9 munmap:11 mremap:25 mprotect:10 msync:26 madvise:28 mincore:27 mlock:149
   mlock2:325 munlock:150 mlockall:151 munlockall:152 remap_file_pages:216 memfd_create:319
   memfd_secret:447 pkey_alloc:330 pkey_free:331 pkey_mprotect:329 membarrier:324
   map_shadow_stack:453 mseal:462 shmget:29 shmat:30 shmctl:31 shmdt:67`,
  // Processes and threads.
  `execve:59 execveat:322 fork:57 vfork:58 exit:60 exit_group:231 wait4:61 waitid:247 kill:62
   tkill:200 tgkill:234 getpid:39 getppid:110 gettid:186 getpgid:121 getpgrp:111 setpgid:109
   getsid:124 setsid:112 pidfd_open:434 pidfd_send_signal:424 set_tid_address:218
   set_robust_list:273 get_robust_list:274 rseq:334 arch_prctl:158 set_thread_area:205
   get_thread_area:211 prctl:157 seccomp:317 landlock_create_ruleset:444 landlock_add_rule:445
   landlock_restrict_self:446 restart_syscall:219`,
  // Users. None of these gives what a process does not have.
  `getuid:102 geteuid:107 getgid:104 getegid:108 getgroups:115 getresuid:118 getresgid:120
   setuid:105 setgid:106 setgroups:116 setreuid:113 setregid:114 setresuid:117 setresgid:119
   setfsuid:122 setfsgid:123 capget:125 capset:126`,
  // Signals.
  `rt_sigaction:13 rt_sigprocmask:14 rt_sigpending:127 rt_sigsuspend:130 rt_sigtimedwait:128
   rt_sigqueueinfo:129 rt_tgsigqueueinfo:297 rt_sigreturn:15 sigaltstack:131 pause:34 alarm:37`,
  // Locks and messages within the instance.
  `futex:202 futex_wait:455 futex_wake:454 futex_requeue:456 futex_waitv:449 semget:64
   semop:65 semtimedop:220 semctl:66 msgget:68 msgsnd:69 msgrcv:70 msgctl:71 mq_open:240
   mq_unlink:241 mq_timedsend:242 mq_timedreceive:243 mq_notify:244 mq_getsetattr:245`,
  // Time.
  `time:201 gettimeofday:96 clock_gettime:228 clock_getres:229 clock_nanosleep:230
   nanosleep:35 times:100 getitimer:36 setitimer:38 timer_create:222 timer_settime:223
   timer_gettime:224 timer_getoverrun:225 timer_delete:226`,
  // Scheduling and limits; raising either takes rights that nobody here has.
  `sched_yield:24 sched_getaffinity:204 sched_setaffinity:203 sched_getparam:143
   sched_setparam:142 sched_getscheduler:145 sched_setscheduler:144 sched_getattr:315
   sched_setattr:314 sched_get_priority_max:146 sched_get_priority_min:147
   sched_rr_get_interval:148 getpriority:140 setpriority:141 ioprio_get:252 ioprio_set:251
   getrlimit:97 setrlimit:160 prlimit64:302 getrusage:98 getcpu:309`,
  // Sockets that are open already.
  `bind:49 listen:50 accept:43 accept4:288 connect:42 shutdown:48 getsockname:51
   getpeername:52 getsockopt:55 setsockopt:54 sendto:44 recvfrom:45 sendmsg:46 recvmsg:47
   sendmmsg:307 recvmmsg:299`,
  // The system.
  `uname:63 sysinfo:99 getrandom:318`,
])

/** What a program may not call: it is told that it may not. */
export const REFUSED: Table = table([
  // Looking into other processes, and having the kernel do it.
  `ptrace:101 process_vm_readv:310 process_vm_writev:311 process_madvise:440
   process_mrelease:448 pidfd_getfd:438 kcmp:312`,
  // Large surfaces of the kernel that no program of this kind needs: each has let programs out before.
  `bpf:321 perf_event_open:298 userfaultfd:323 io_uring_setup:425 io_uring_enter:426
   io_uring_register:427 vmsplice:278 modify_ldt:154`,
  // The kernel's key rings, which know no namespaces.
  `keyctl:250 add_key:248 request_key:249`,
  // Mounts and file systems.
  `mount:165 umount2:166 pivot_root:155 chroot:161 move_mount:429 open_tree:428 fsopen:430
   fsconfig:431 fsmount:432 fspick:433 mount_setattr:442 statmount:457 listmount:458
   quotactl:179 quotactl_fd:443 swapon:167 swapoff:168 sysfs:139 ustat:136
   open_by_handle_at:304 fanotify_init:300 fanotify_mark:301`,
  // Further namespaces.
  `unshare:272 setns:308`,
  // The machine.
  `kexec_load:246 kexec_file_load:320 init_module:175 finit_module:313 delete_module:176
   create_module:174 query_module:178 get_kernel_syms:177 reboot:169 acct:163 syslog:103
   lookup_dcookie:212 settimeofday:164 clock_settime:227 clock_adjtime:305 adjtimex:159
   sethostname:170 setdomainname:171 iopl:172 ioperm:173 vhangup:153 lsm_get_self_attr:459
   lsm_set_self_attr:460 lsm_list_modules:461`,
  // Placing memory on nodes.
  `mbind:237 set_mempolicy:238 set_mempolicy_home_node:450 get_mempolicy:239 migrate_pages:256
   move_pages:279`,
  // Never implemented, or long gone.
  `_sysctl:156 uselib:134 nfsservctl:180 vserver:236 tuxcall:184 security:185 afs_syscall:183
   getpmsg:181 putpmsg:182 epoll_ctl_old:214 epoll_wait_old:215`,
])

/** What a program may call with some arguments. */
export const JUDGED = {
  clone: 56,
  clone3: 435,
  socket: 41,
  socketpair: 53,
  ioctl: 16,
  personality: 135,
} as const
