module example.org/log

go 1.18

require example.org/knots v1.0.0
