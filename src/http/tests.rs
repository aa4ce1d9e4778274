//! The routes over a real unix socket, with a swarm in memory behind them.
