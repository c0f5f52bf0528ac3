//! Tests whose point is how long something takes, with every setting at its default.

mod idle;
