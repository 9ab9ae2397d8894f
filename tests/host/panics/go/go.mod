module explode

go 1.24
