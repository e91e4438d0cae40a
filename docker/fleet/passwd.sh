# broker_user NAME PASSWORD: a user of the broker, new or with another password. Read by the other scripts.
broker_user() {
    [ -f passwords ] || (umask 077 && : >passwords)
    if command -v mosquitto_passwd >/dev/null; then
        mosquitto_passwd -b passwords "$1" "$2"
    else
        docker run --rm --volume "$PWD:/fleet" --workdir /fleet eclipse-mosquitto:2.0 mosquitto_passwd -b passwords "$1" "$2"
    fi
}
