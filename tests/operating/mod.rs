//! What an operator does with a running sidecar, and what its sessions notice of it.

mod leaving;
mod manager;
mod refused;
mod rehearsal;
mod reload;
mod status;
mod watched;
