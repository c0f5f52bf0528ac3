//! The store in a real Redis.

mod grants;
