package main

// fromOutages are defects in what happens when Redis is slow or away, and what is told of it.
var fromOutages = []defect{}
