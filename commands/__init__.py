"""What each `pfcli` command does: plain values in, the packages called, results printed."""
