# Action Cable of Rails with the tokens of these tests. It tells its ledger in lines of stderr: `RIG connected`, `RIG refused`,
# `RIG expired`, `RIG said 7`.
require "action_cable"
require "base64"
require "json"
require "logger"
require "openssl"

module Rig
  def self.tell(*words) = $stderr.puts(["RIG", *words].join(" "))

  # A JWT's claims; nil if it is not one of ours, or has ended.
  def self.claims(token)
    head, body, signature = token.to_s.split(".")
    signed = OpenSSL::HMAC.digest("SHA256", ENV.fetch("RIG_SECRET"), "#{head}.#{body}")
    return unless signature == Base64.urlsafe_encode64(signed, padding: false)

    found = JSON.parse(Base64.urlsafe_decode64(body))
    found if found["exp"] > Time.now.to_f
  end
end

class Connection < ActionCable::Connection::Base
  def connect
    found = Rig.claims(request.params[:token])
    unless found
      Rig.tell("refused")
      reject_unauthorized_connection
    end
    Rig.tell("connected")
    @end = Concurrent::ScheduledTask.execute(found["exp"] - Time.now.to_f) do
      Rig.tell("expired")
      close(reason: "token_expired", reconnect: false)
    end
  end

  def disconnect
    @end&.cancel
  end
end

class TickChannel < ActionCable::Channel::Base
  def subscribed = stream_from("ticks")

  def say(data)
    Rig.tell("said", data["n"])
    transmit({ heard: data["n"] })
  end
end

config = ActionCable.server.config
config.cable = { "adapter" => "async" }
config.logger = Logger.new($stderr, level: :error)
config.connection_class = -> { Connection }
config.disable_request_forgery_protection = true

Thread.new do
  (1..).each do |n|
    ActionCable.server.broadcast("ticks", { tick: n })
    sleep 0.2
  end
end

map("/cable") { run ActionCable.server }
