"""
How RocksDB is set up.
"""

from rocksdict import (
    BlockBasedOptions,
    Cache,
    ChecksumType,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    ReadOptions,
    WriteOptions,
)

_MEBIBYTE = 1 << 20


def write_options(*, sync: bool) -> WriteOptions:
    """How to write: with sync, so that it is on disk afterwards."""
    options = WriteOptions()
    options.sync = sync
    return options


def thorough_read_options() -> ReadOptions:
    """How to read what is verified: from the disk, where it is not in memory, and without a trace in the cache."""
    options = ReadOptions()
    options.fill_cache(False)  # type: ignore[call-arg]  # the library's stub lacks its argument
    options.set_verify_checksums(True)
    return options


def database_options(*, create: bool, cache_bytes: int) -> Options:
    """Settings for a small node: some 40 MiB of memory beside the cached blocks, two threads in the background."""
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.set_error_if_exists(create)
    # A record cut off at the end of a log was never acknowledged; anything else that is wrong refuses the start.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_write_buffer_size(16 * _MEBIBYTE)
    options.set_max_write_buffer_number(2)
    options.set_max_total_wal_size(64 * _MEBIBYTE)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(cache_bytes))
    # Indexes and filters stay in memory beside the cache, some four bytes a key: in it, the one block of a large file may be
    # larger than a part of the cache, and would be read again for every row.
    blocks.set_cache_index_and_filter_blocks(False)
    # A key that is not there, as most new ones, is told from ten bits without reading a block.
    blocks.set_bloom_filter(10, False)
    # A row that is not in memory costs a quarter less than with the library's own choice (CRC-32C in software, Snappy).
    blocks.set_checksum_type(ChecksumType.xxh3())
    options.set_compression_type(DBCompressionType.lz4())
    options.set_block_based_table_factory(blocks)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    # Written back little by little: a megabyte at a time delays the sync of a commit less than a whole file.
    options.set_bytes_per_sync(_MEBIBYTE)
    options.set_max_manifest_file_size(16 * _MEBIBYTE)
    options.set_max_log_file_size(_MEBIBYTE)
    options.set_keep_log_file_num(2)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options
