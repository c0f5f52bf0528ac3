//! Tests whose point is how long something takes, with every setting at its default.

mod cpu;
mod half_open;
mod hung;
mod idle;
mod upload;
