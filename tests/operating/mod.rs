//! What an operator does with a running sidecar, and what its sessions notice of it.

mod addresses;
mod connect;
mod egress;
mod first;
mod inherited;
mod leaving;
mod manager;
mod mute;
mod refused;
mod rehearsal;
mod reload;
mod sessions;
mod starved;
mod status;
mod watched;
