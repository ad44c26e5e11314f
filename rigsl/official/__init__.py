"""The official implementation (github.com/FarisXiong/RIGSL): its command lines and checkpoints.

flags     the official command line <-> `RIGSLConfig`
names     what the official code has, and its names of parameters
presets   the published configurations
state     an official checkpoint -> a model
"""
