//! The local provider: supervised processes, functions, volumes and backups on one machine.
