"""The write-ahead log of `fileChannel`: segments of records, read by cursors. No threads here, and no path: see `directory.py`.

Theory of operation. A log is a directory of segments, `<sequence>-<first number>.wal`. A segment is a head, written twice, and
then records. A record is a batch as it was put: its events have the numbers from `number` on, and it says which part of
which source stream it is. The head holds what must outlive deleted segments: the log's incarnation, how far each source
stream was taken, and which numbers were never given. Only the last segment grows; a segment is synced before the next one
is created, so only the last one can be torn.

    number      of the next event; goes up with every record that is written
    durable     events before it survive a power cut; readers see no more, and sources hear of no more
    position    of a cursor: events before it are stored elsewhere
    oldest      the first event of the oldest segment; a segment that all cursors have passed is deleted

*Torn or damaged.* A bad record is torn, and cut off together with all behind it, when nothing says that it was durable. What says
so: a later record, each of which carries the `durable` of its time; a cursor that has passed it; a later segment.
Then it is damage: the segment is set aside (`.damaged`), its good records are still delivered, and the rest becomes a gap.

*Numbers are never used twice*, or a collector would take new events for old ones. `durable` sees to it while syncing is on.
With `fsync=never` readers see what a power cut may undo, so the head says in which boot of the machine the segment was
written, and a log that was not closed and wakes up in another boot skips `SKIP_EVENTS` numbers. So does one whose discarded
end held valid records, up to their end. What was skipped is remembered, and never counted as lost.
"""
