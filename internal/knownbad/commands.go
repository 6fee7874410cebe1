package main

// fromCommands are defects in what the binary does with bytes, signals, pipes and ends.
var fromCommands = []defect{}
