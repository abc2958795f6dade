module github.com/tributary-project/tributary/timestream

go 1.26.0
