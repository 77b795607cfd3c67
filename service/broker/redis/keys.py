"""Every name that the queue uses on its server, and how long it lives.

A model's keys begin with "fivefold:{name@version}:", its hash tag, so that models spread over a cluster; job ids begin
with the model too. "Until it ends": a job's keys have no time-to-live while it lives, for a job that expired by itself
would leave the counts of its queue wrong for ever; once it has ended, every script sweeps what is older than
`result_ttl_seconds`.

ready           sorted set  waiting places "stamp:format:id" by virtual finish time            while they wait
share           sorted set  tenant and class by the virtual finish time of their last job      while anything waits
due             sorted set  waiting ids by deadline                                            while they wait
lease           sorted set  running ids by the end of their lease                              while they run
bell:<format>   list        at most one element; wakes one worker that reads the format        until heard
queue           hash        seconds waiting and running, virtual time, drain rate, counters,
                            bytes of the jobs that live, of ended ones and of dead letters,
                            asked_<format>: when a worker last asked for jobs of the format    for ever
job:<id>        hash        format, state, fence, attempts, place, tenant, counts, error       until it ends, then kept
payload:<id>    string      the job as it travels                                              until it ends
request:<id>    string      what its answer is made from later                                 as the job
events:<id>     list        its blocks of events, in order; empty where a step is deleted      as the job
seen:<id>       hash        row -> its last step and progress, or "end"                        while it runs
idem:<t>:<key>  string      the job that a tenant's idempotency key names                      as the job
jobs:<tenant>   sorted set  jobs with a request, by arrival                                    as the job
kept            sorted set  ended ids by their end                                             result_ttl_seconds
dead            sorted set  given-up ids by time; hash dead:<id>: what they were, and why      the newest

A key of another type than these is renamed to "<key>.damaged" by the script that meets it, and forgotten after a day.

Outside the tags: fivefold:models (a set of every model seen), fivefold:workers (a hash of heartbeats, dropped after a
minute), fivefold:aliases (a hash), fivefold:control (a stream, the last 1,000 messages), and the channels
fivefold:arrived (a line that was empty is not), fivefold:cancelled and fivefold:reply:<replica>.
"""

MODELS, WORKERS, ALIASES, CONTROL = "fivefold:models", "fivefold:workers", "fivefold:aliases", "fivefold:control"
ARRIVED, CANCELLED, REPLY = "fivefold:arrived", "fivefold:cancelled", "fivefold:reply:"
CONTROL_MESSAGES = 1000


def prefix(model: str) -> str:
    """Of the keys of the model "name@version"."""
    return f"fivefold:{{{model}}}:"


def prefix_of(job_id: str) -> str:
    """Of the keys of a job's model: ids are "name@version-hexadecimal"."""
    return prefix(job_id.rpartition("-")[0])


def bell(where: str, number: int) -> str:
    """Of the workers that read this format."""
    return f"{where}bell:{number}"
