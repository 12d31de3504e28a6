//! Requests become transactions: rule by rule, at random, and as ZooKeeper itself was seen to do.

mod captures;
mod logs;
mod properties;
mod reconfig;
mod rules;
mod world;
