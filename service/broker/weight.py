"""What a job and its events weigh in memory: their arrays and texts, and what Python adds to each object."""

from service.arrays import Arrays, Columns, size_bytes
from service.jobs import Block, Events, Job

# Measured with tracemalloc; tests/broker/test_kept_bytes.py holds the sums to half and twice of what is measured.
JOB_BYTES = 2000  # job, block, record, ticket, and their places in the tables of the ledger
EVENTS_BYTES = 850  # one block of events without its columns
ARRAY_BYTES = 176  # a column: the object and its place in the mapping
ROW_BYTES = 32  # of events: row, step, compute_ms and progress; of a block row, seed and work
PLACE_BYTES = 8  # of a step that is gone


def job_bytes(job: Job) -> int:
    """Of a job as it is submitted, with its record."""
    return JOB_BYTES + block_bytes(job.block) + len(job.request) + len(job.idempotency_key or "")


def block_bytes(block: Block) -> int:
    """Of the items of a job."""
    return ROW_BYTES * len(block) + columns_bytes(block.columns) + columns_bytes(block.shared)


def events_bytes(events: Events) -> int:
    """Of one block of events that is kept."""
    return EVENTS_BYTES + ROW_BYTES * len(events) + columns_bytes(events.columns)


def columns_bytes(columns: Columns | Arrays) -> int:
    """Of arrays by name."""
    return ARRAY_BYTES * len(columns) + size_bytes(columns)
