package main

// fromOrder are defects in the order of jobs that fall due, turns under limits, and keys that come back.
var fromOrder = []defect{}
