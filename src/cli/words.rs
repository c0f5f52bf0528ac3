//! Numbers as people say them: one place for the commands and for what the sidecar says of itself.

pub(super) use crate::admin::words::*;
