//! The end-to-end tests of the engine, in one binary. Each module holds one kind of promise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

// One clear typed error for every bad input, and nothing lost.
mod bad_input;
// Walks, tables and descriptors for other languages.
mod bulk;
// A child process killed at random instants and at named points.
mod crash;
// Parquet files, read back, and what is refused.
mod export;
// I/O errors and a full disk at every operation of the store, one after another.
mod faults;
// Watched trees that independent programs change as fast as they can.
mod fire;
// Several machines over one Redis, which is killed with them.
mod fleet;
// A state file written by an earlier version opens as it was left.
mod golden;
// The rules of watching, one sentence each.
mod live;
// What nobody tells of heals by itself: emptied and held roots, mounts, shut directories, pauses.
mod live_heal;
// The numbers of the engine, and the text in which Prometheus reads them.
mod metrics;
// What is still to be done about each file: states, claims, leases.
mod work;
// Handed out once more: failures, requests, refreshes.
mod work_again;
// A child process killed while it works.
mod work_crash;
// Random steps over two pipelines against a naive reference.
mod work_model;
// Groups, options and their changes, restarts, what is refused.
mod work_pipelines;
// The naive reference of pipelines.
mod work_reference;
// Many threads, waiting, workers.
mod work_threads;
// A remote copy in step with a root, against a storage in memory and a directory.
mod mirror;
// A child process killed while it brings a bucket in step.
mod mirror_crash;
// A mirror whose storage is in trouble, and what its own program does meanwhile.
mod mirror_endurance;
// Names that a directory as a store takes for one another.
mod mirror_names;
// What a mirror never deletes and never overwrites.
mod mirror_safety;
// A bucket under every fault of the protocol, and a CDN that is told of what changed.
mod mirror_s3;
// Random trees and operations against a naive reference.
mod model;
// File systems mounted, unmounted and swapped under a root; only where mounting is allowed.
mod mounts;
// Snapshots on many threads, poisoning, and who pays for freeing.
mod readers;
// The object store and the CDN of the tests themselves, and the faults they can have.
mod s3_server;
// The rules of scanning, one sentence each.
mod scan;
// Lookups, order, filters, totals and differences of snapshots.
mod snapshot;
// Journal, cursors, attributes, key-value spaces, batches, retention, history.
mod state;
// The rules of the source tree itself.
mod tidy;
