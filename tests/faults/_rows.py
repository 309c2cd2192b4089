"""
The faults that hydra must survive: how each is caused, what is expected, and what shows it.

`make faults` runs the table and writes docs/faults.md; a test holds page and table together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """
    One fault.

    Args:
        name: Letter of the family and a number.
        fault: What happens.
        how: How it is made to happen.
        expected: What must hold.
        tests: `file::test` relative to tests/, or a file for all of it.
        absent: Why there is nothing to run.
    """

    name: str
    fault: str
    how: str
    expected: str
    tests: tuple[str, ...] = ()
    absent: str = ""


FAMILIES: Final = {
    "C": "Crashes and ends of a process",
    "F": "Forks",
    "D": "Disks",
    "R": "Rotation by others",
    "S": "Sinks and values",
    "E": "Standard streams, and nothing left",
    "A": "Event loops",
    "T": "Time, threads and memory",
    "P": "Everything at once",
}

ROWS: Final = (
    Row(
        "C1",
        "kill -9 at any time",
        "a process that logs is killed at random moments, its heirs too: 500 cycles; `make "
        "kill9`: 10,000",
        "no promised ERROR is lost, no id is there twice, torn tails are found and passed over",
        ("faults/test_kill.py",),
    ),
    Row(
        "C2",
        "killed at each system call",
        "strace kills at the n-th write, link, unlink, sync; a file system of the tests "
        "kills at each operation",
        "after the next start each ERROR whose call returned is there, once",
        (
            "faults/test_syscalls.py::test_killed_at_its_nth_system_call",
            "faults/test_recovery.py::test_killed_at_every_change_of_a_recovery",
            "fallbacks/test_journal_faults.py::test_killed_at_every_operation",
            "fallbacks/test_held.py::test_killed_at_every_operation_twice",
        ),
    ),
    Row(
        "C3",
        "killed during the replay, twice",
        "the heir is killed at each of its changes, and its heir as well",
        "nothing is lost or doubled",
        (
            "faults/test_recovery.py::test_killed_twice_in_recoveries",
            "faults/test_recovery.py::test_many_random_kills_with_a_backlog",
            "fallbacks/test_journal_faults.py::test_recovery_killed_twice",
        ),
    ),
    Row(
        "C4",
        "SIGTERM, SIGINT, SIGHUP",
        "`kill`, with the default action, with `signals`, with a handler of the application",
        "ERRORs are kept, the exit status is what it would be, former handlers are called",
        (
            "faults/test_signals.py::test_default_action",
            "faults/test_signals.py::test_handlers_asked_for",
            "faults/test_signals.py::test_former_handler_is_called",
            "faults/test_signals.py::test_process_that_survives_its_signal",
            "faults/test_signals.py::test_ignored_signal_stays_ignored",
            "faults/test_signals.py::test_asyncio_program_that_is_interrupted",
        ),
    ),
    Row(
        "C5",
        "os._exit, abort, segmentation fault, exec",
        "a program does it to itself",
        "ERRORs are in the file after the next start, once",
        ("faults/test_exit.py::test_process_that_dies",),
    ),
    Row(
        "C6",
        "the kernel's out-of-memory killer",
        "a memory control group of 96 MiB",
        "ERRORs are kept",
        ("faults/test_signals.py::test_out_of_memory_killer",),
    ),
    Row(
        "C7",
        "loss of power",
        "a file system of the tests drops, zeroes or garbles what was not synced",
        "what was told to be on the disk comes back; a start trips over nothing",
        (
            "faults/test_power.py",
            "fallbacks/test_journal_faults.py::test_power_cut_after_sync_loses_nothing",
            "fallbacks/test_held.py::test_power_cut_keeps_an_import",
        ),
    ),
    Row(
        "C8",
        "normal end with a backlog and a slow sink",
        "10,000 records for a sink of a millisecond each",
        "the end comes at its deadline; the rest is in a file and comes at the next start",
        (
            "faults/test_exit_late.py::test_backlog_and_a_slow_sink_at_exit",
            "faults/test_exit_late.py::test_rest_of_a_backlog_comes_at_the_next_start",
        ),
    ),
    Row(
        "C9",
        "logging while the interpreter shuts down",
        "functions at exit, `__del__` of globals, daemon threads, threads that outlive main",
        "no traceback; what was logged is in the file",
        (
            "faults/test_exit_late.py::test_atexit_before_and_after_the_import",
            "faults/test_exit_late.py::test_finaliser_of_a_global",
            "faults/test_exit_late.py::test_daemon_thread_that_logs_to_the_end",
            "faults/test_exit_late.py::test_thread_that_outlives_main",
        ),
    ),
    Row(
        "C10",
        "import or thread start at exit",
        "an audit hook watches from the first function at exit on",
        "there is none",
        ("faults/test_exit_late.py::test_nothing_is_started_or_imported_at_exit",),
    ),
    Row(
        "F1",
        "fork while eight threads log",
        "100 forks; `make forks`: 1,000",
        "no child hangs, each record is there once",
        (
            "faults/test_fork.py::test_forked_a_hundred_times_while_eight_threads_log",
            "faults/test_fork.py::test_fork_in_a_signal_handler_while_logging",
        ),
    ),
    Row(
        "F2",
        "fork with a backlog",
        "the writer is held while the process forks",
        "the parent delivers its backlog, the child begins with nothing",
        (
            "faults/test_fork.py::test_parent_has_a_backlog",
            "faults/test_fork.py::test_fork_during_a_call_of_a_slow_sink",
        ),
    ),
    Row(
        "F3",
        "other ways to make a process",
        "multiprocessing by fork, spawn and forkserver; gunicorn with workers forked from a "
        "loaded application; posix_spawn; a fork by C code",
        "ERRORs are kept, locks are free, no orphan holds the files of the dead",
        (
            "faults/test_multiprocessing.py",
            "faults/test_prefork.py",
            "faults/test_fork.py::test_parent_dies_and_its_child_lives_on",
            "faults/test_fork.py::test_process_that_starts_programs",
            "faults/test_fork.py::test_child_that_python_did_not_fork",
            "engine/test_stream_fork.py",
        ),
    ),
    Row(
        "F4",
        "loggers copied and pickled; subinterpreters",
        "pickle, copy, deepcopy; import in a subinterpreter",
        "a logger is known by its name; the import says clearly that it is refused",
        (
            "behaviour/test_logger.py::test_loggers_are_values",
            "e2e/test_start.py::test_subinterpreter",
        ),
    ),
    Row(
        "F5",
        "fronts in processes that fork, end or are killed",
        "two fronts and the module's functions in one process",
        "each scope keeps what is its own, and the next start brings it there",
        ("faults/test_fronts.py",),
    ),
    Row(
        "D1",
        "disk full, for a while and for good",
        "a tmpfs of 64 KiB; strace: ENOSPC; /dev/full as standard error",
        "nothing is raised, other tiers take over, the file is complete after the recovery, "
        "counts are exact",
        (
            "faults/test_disk.py::test_full_disk_and_back",
            "faults/test_syscalls.py::test_writes_that_are_refused_for_a_while[plain-ENOSPC]",
            "faults/test_syscalls.py::test_writes_that_are_refused_for_a_while[asyncio-ENOSPC]",
            "fallbacks/test_journal_faults.py::test_disk_full_at_every_size",
            "fallbacks/test_held.py::test_disk_full_at_every_byte",
        ),
    ),
    Row(
        "D2",
        "short writes",
        "a tmpfs that fills up in the middle of a batch; RLIMIT_FSIZE",
        "the torn line is ended, the record is written again whole, with the same id",
        (
            "faults/test_disk.py::test_limit_on_file_sizes",
            "fallbacks/tiers/test_file.py::test_real_full_disk",
            "fallbacks/test_held.py::test_short_write_counts_whole_lines_and_ends_the_torn_one",
        ),
    ),
    Row(
        "D3",
        "EIO, EDQUOT, EROFS, EACCES, an immutable file; a failing fdatasync",
        "strace; a read-only mount; another user; `chattr +i`; each call of the seam fails in turn",
        "the next tier takes over and the file comes back; a failed sync is never told as D",
        (
            "faults/test_syscalls.py::test_writes_that_are_refused_for_a_while",
            "faults/test_syscalls.py::test_disk_that_cannot_be_forced",
            "faults/test_disk.py::test_any_call_may_fail_at_any_time",
            "faults/test_disk.py::test_permission_denied_and_granted",
            "faults/test_disk.py::test_immutable_file_and_back",
            "faults/test_disk.py::test_file_system_that_takes_no_file",
            "engine/test_keeper.py::test_disk_that_refuses",
        ),
    ),
    Row(
        "D4",
        "no descriptor left",
        "RLIMIT_NOFILE, at a rotation",
        "the open log is written on, the rotation waits",
        ("faults/test_paths.py::test_no_descriptor_left",),
    ),
    Row(
        "D5",
        "no inode left; directories removed; a directory where the file was",
        "a tmpfs with `nr_inodes`; rm -r; mkdir",
        "the log is made again, or the next tier takes over",
        (
            "faults/test_disk.py::test_file_system_that_takes_no_file",
            "faults/test_paths.py::test_log_that_is_taken_away_is_made_again",
            "faults/test_paths.py::test_what_is_no_log_file_is_not_written_to",
        ),
    ),
    Row(
        "D6",
        "a slow disk",
        "strace: half a second for each write, or each sync",
        "the application's loop is not held up; CRITICAL waits 250 ms at most",
        (
            "faults/test_syscalls.py::test_disk_that_takes_half_a_second",
            "engine/test_receipts.py::test_critical_with_a_disk_that_hangs",
            "engine/test_keeper.py::test_stalled_page_cache_spares_the_event_loop",
        ),
    ),
    Row(
        "D7",
        "journal or held files damaged",
        "cut, flipped, zeroed, extended, removed: 10,000 times; 256 MiB of garbage; a "
        "future version",
        "a start trips over nothing, loses only what is damaged, and needs no memory for it",
        (
            "faults/test_damage.py",
            "fallbacks/test_journal_faults.py::test_damaged_segment_never_stops_a_start",
            "fallbacks/test_journal_frames.py::test_future_header_says_its_version",
            "fallbacks/test_held.py::test_mutated_segment_is_read_without_error",
            "fallbacks/test_held.py::test_segment_of_others_is_left_alone",
        ),
    ),
    Row(
        "D8",
        "no place for state",
        "a read-only home, an unknown user, every candidate refused",
        "one warning, and logging works; with `strict` the configuration is refused",
        ("faults/test_state_dir.py",),
    ),
    Row(
        "R1",
        "moved and made anew without a signal",
        "rename under load, by thread and by loop",
        "each record is in exactly one of the files",
        ("faults/test_rotation_by_others.py::test_moved_and_made_anew_without_a_signal",),
    ),
    Row(
        "R2",
        "copied and truncated",
        "truncate under load",
        "no hole of zero bytes, no torn line of ours",
        ("faults/test_rotation_by_others.py::test_copied_and_cut_short",),
    ),
    Row(
        "R3",
        "several processes, one file; inodes that come back",
        "four processes write while the file is moved and the moved ones are removed; "
        "siblings are killed",
        "no line is torn, lost or doubled",
        (
            "faults/test_rotation_by_others.py::test_four_processes_and_a_rotation_by_somebody_else",
            "faults/test_rotation_by_others.py::test_living_siblings_are_not_taken_for_dead",
            "faults/test_rotation_by_others.py::test_siblings_killed_in_the_middle_cost_only_their_own_lines",
            "e2e/test_audit.py::TestUntouched::test_two_processes_in_one_file",
        ),
    ),
    Row(
        "S1",
        "a sink raises anything",
        "nine exceptions, SystemExit and MemoryError among them; sync and async",
        "the next tier has the batch, the writer lives, the sink gets everything when it is well",
        ("faults/test_sinks.py::test_broken_sink_costs_no_line_and_no_neighbour",),
    ),
    Row(
        "S2",
        "a sink hangs for ever",
        "on a thread, on the loop, deaf to cancellation, with the loop",
        "it is left at its deadline, others are prompt, the process ends in time",
        ("faults/test_sinks_hang.py", "faults/test_sinks_close.py"),
    ),
    Row(
        "S3",
        "a sink answers nonsense",
        "the wrong type, more lines than it got, a line twice, unknown lines",
        "counted as a failure of the tier",
        (
            "faults/test_sinks.py::test_broken_sink_costs_no_line_and_no_neighbour",
            "testing/test_sink.py",
        ),
    ),
    Row(
        "S4",
        "a sink logs through the engine",
        "a sync and an async sink, into their own full queue too",
        "one record for each call, no loop and no deadlock",
        (
            "contract/test_calls.py::test_call_in_a_sync_sink",
            "contract/test_calls.py::test_call_in_an_async_sink",
            "contract/test_calls.py::test_sink_that_logs_into_its_own_full_queue",
        ),
    ),
    Row(
        "S5",
        "a processor or a value raises, recurses, mutates",
        "`__str__`, `__repr__`, `__hash__`, processors, lazy values",
        "the record is written and says what was wrong; nothing is raised",
        (
            "behaviour/test_configure.py::test_failing_processors_cost_no_record",
            "behaviour/test_configure.py::test_odd_answers_of_processors",
            "core/test_values.py::test_value_that_raises_is_named",
            "core/test_line.py::test_key_that_raises",
            "contract/test_calls.py::test_call_in_a_processor",
        ),
    ),
    Row(
        "S6",
        "values that cannot be written as they are",
        "cycles, a million levels, 100 MB, NaN, bytes, lone surrogates, control characters; "
        "hypothesis",
        "one bounded, valid line each, and the neighbours untouched",
        ("e2e/test_values.py", "core/test_values.py", "core/test_line.py"),
    ),
    Row(
        "S7",
        "a broker refuses, resets, swallows, throttles",
        "a server that misbehaves",
        "the journal holds; exactly once by id",
        absent="there is no sink for a broker yet; what any sink may answer is in S1 to S3",
    ),
    Row(
        "S8",
        "a destination that is back after a day",
        "a fake clock",
        "everything that was held arrives, in order, and callers are taken in at once",
        (
            "engine/test_outage.py",
            "behaviour/test_backpressure.py::test_closed_door_opens_after_an_outage",
        ),
    ),
    Row(
        "S9",
        "PostgreSQL killed, failed over, full",
        "a local server",
        "no loss, rows unique by id",
        absent="there is no sink for a database yet",
    ),
    Row(
        "S10",
        "a record that is refused for good",
        "a receiver that refuses batches with a bad record; killed and full at any call",
        "the bad record is kept aside, its neighbours arrive",
        ("faults/test_dead_letters.py",),
    ),
    Row(
        "E1",
        "standard error undrained, closed, without a reader, limited",
        "pipes nobody reads, closed descriptors, `sys.stderr = None`, RLIMIT_FSIZE",
        "no caller is blocked beyond what it agreed to; what is missing is counted",
        ("faults/test_console.py", "faults/test_console_load.py"),
    ),
    Row(
        "E2",
        "all tiers down",
        "log and state on one full disk, and standard error full",
        "the application goes on; drops are counted, and declared after the recovery",
        (
            "faults/test_disk.py::test_everything_full_and_back",
            "engine/test_service.py::test_all_tiers_down",
        ),
    ),
    Row(
        "A1",
        "loops closed, foreign, several, cancelled; asyncio.run twice; trio",
        "one scenario under each style of calling",
        "the same results, whoever calls",
        ("contract/test_calls.py", "behaviour/test_await.py"),
    ),
    Row(
        "A2",
        "full queue and a caller on the loop",
        "a small queue in front of a sink that hangs",
        "no call waits on the loop",
        (
            "behaviour/test_backpressure.py::test_loop_is_never_blocked",
            "engine/test_parked.py::test_never_blocks_the_loop",
        ),
    ),
    Row(
        "T1",
        "the wall clock jumps",
        "an interposed clock_gettime: a day early, a day late, 1970, at every look",
        "records keep the order of their calls, tiers are tried again in time",
        ("faults/test_clock.py", "faults/test_recovery.py::test_clock_that_jumps"),
    ),
    Row(
        "T2",
        "logging in signal handlers and finalisers",
        "setitimer at 50 and 200 Hz, the collector at its busiest, handlers that raise anywhere",
        "no deadlock, both records are kept, the ledger balances",
        (
            "contract/test_calls.py::test_call_in_a_signal_handler",
            "contract/test_calls.py::test_call_in_a_finaliser",
            "faults/test_signals.py::test_handler_that_logs_in_the_middle_of_calls",
            "faults/test_signals.py::test_exception_out_of_a_handler_in_the_middle_of_calls",
            "engine/test_stream_interrupted.py",
        ),
    ),
    Row(
        "T3",
        "threads, tasks and loggers by the thousand; no thread to be had",
        "10,000 threads, 2,000 tasks, 100 loggers; RLIMIT_NPROC",
        "no loss, nothing kept of threads that ended; without threads the callers write",
        (
            "faults/test_crowd.py",
            "faults/test_exit_late.py::test_no_thread_to_be_had",
            "faults/test_exit_late.py::test_limit_of_processes",
        ),
    ),
    Row(
        "T4",
        "Python without the global lock",
        "a free-threaded interpreter",
        "the same",
        absent="free-threaded builds are not supported",
    ),
    Row(
        "T5",
        "memory runs out",
        "`_testcapi.set_nomemory` at the n-th allocation of a call",
        "nothing is raised; a record that could not be made is a counted drop",
        ("faults/test_memory.py", "engine/test_stream_memory.py"),
    ),
    Row(
        "P1",
        "random histories",
        "a model decides what is logged, failed, killed, restarted, and judges what is there",
        "what was promised is delivered, what was delivered was logged, the books balance",
        (
            "model/test_machine.py",
            "model/test_stats.py",
            "model/test_policies.py",
            "model/test_findings.py",
        ),
    ),
)  # fmt: skip
