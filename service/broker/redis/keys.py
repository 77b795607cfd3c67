"""Every name that the queue uses on its server, and how long it lives.

A model's keys begin with "ff:{name@version}:", its hash tag, so that models spread over a cluster; job ids begin with
the model too. "Until it ends": a job's keys have no time-to-live while it lives, for a job that expired by itself would
leave the counts of its queue wrong for ever; once it has ended, every script sweeps what is older than
`result_ttl_seconds`.

ready           sorted set  waiting places "stamp:id" by virtual finish time                   while they wait
flow            sorted set  tenant and class by the virtual finish time of their last job      while anything waits
due             sorted set  waiting ids by deadline                                            while they wait
lease           sorted set  running ids by the end of their lease                              while they run
bell            list        at most one element; wakes one worker, carries no work             until heard
queue           hash        seconds waiting and running, virtual time, drain rate, counters    for ever
job:<id>        hash        state, fence, attempts, place, deadline, tenant, counts, error     until it ends, then kept
payload:<id>    string      the rows                                                           until it ends
request:<id>    string      what its answer is made from later                                 as the job
events:<id>     list        its events, in order                                               as the job
seen:<id>       hash        rows that have ended, steps that were published, progress          as the job
idem:<t>:<key>  string      the job that a tenant's idempotency key names                      as the job
jobs:<tenant>   sorted set  jobs with a request, by arrival                                    as the job
kept            sorted set  ended ids by their end                                             result_ttl_seconds
dead            sorted set  given-up ids by time; hash `reasons`: why                          the newest

Outside the tags: ff:models (a set of every model seen), ff:workers (a hash of heartbeats, dropped after a minute),
ff:aliases (a hash), ff:control (a stream, the last 1,000 messages), and the channels ff:arrived (a line that was empty
is not), ff:cancelled and ff:reply:<replica>.
"""

MODELS, WORKERS, ALIASES, CONTROL = "ff:models", "ff:workers", "ff:aliases", "ff:control"
ARRIVED, CANCELLED = "ff:arrived", "ff:cancelled"
CONTROL_MESSAGES = 1000


def prefix(model: str) -> str:
    """Of the keys of the model "name@version"."""
    return f"ff:{{{model}}}:"


def prefix_of(job_id: str) -> str:
    """Of the keys of a job's model: ids are "name@version-hexadecimal"."""
    return prefix(job_id.rpartition("-")[0])


def reply_channel(replica: str) -> str:
    return f"ff:reply:{replica}"
