# Action Cable by itself, with its usual check: a page of the host that was asked for, and of no other.
require "action_cable"
require "logger"

config = ActionCable.server.config
config.cable = { "adapter" => "async" }
config.logger = Logger.new($stderr)
config.connection_class = -> { ActionCable::Connection::Base }
config.allow_same_origin_as_host = true
config.worker_pool_size = 1
config.mount_path = "/cable"

map("/cable") { run ActionCable.server }
