//! Floor 2: turn, planner, gate, executor, diagnosis, incidents, projections. Sees ports only.
