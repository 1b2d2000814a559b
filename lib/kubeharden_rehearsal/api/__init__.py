"""The parts of the rehearsal's API server: what it serves, how it answers, how it changes objects."""
